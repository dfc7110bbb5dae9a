"""SOCKS4 and SOCKS4a, the server's side (Ying-Da Lee's memos "SOCKS" and "SOCKS 4A").

    request | 4 | command | port 2 | address 4 | user | 0 |            address 0.0.0.x, x not 0:
            ... | name | 0 |                                           the name tells the host
    reply   | 0 | code | port 2 | address 4 |

A request is held until it is complete, at most `MAX_REQUEST_BYTES`. Causes:
`socks4-bad-version`, `socks4-bad-request`, `socks4-auth-failed`.
"""

from __future__ import annotations

import re
from socket import AF_INET, inet_ntop
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.codec.address import MAX_NAME_BYTES
from mihomo_tproxy.codec.socks5 import SocksRequest
from mihomo_tproxy.errors import AuthenticationFailed, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mihomo_tproxy.codec.layer import Buffer

VERSION: Final = 4
CONNECT: Final = 1
BIND: Final = 2

GRANTED: Final = 90
REJECTED: Final = 91
USER_MISMATCH: Final = 93

MAX_USER_BYTES: Final = 255
_USER_AT: Final = 8
_NAME: Final = re.compile(rb"[\x21-\x39\x3b-\x7e]+")
MAX_REQUEST_BYTES: Final = _USER_AT + MAX_USER_BYTES + 1 + MAX_NAME_BYTES + 1


class Socks4Server:
    """The server's side, up to the request; the reply is `encode_reply`.

    What is in `output` goes to the client, also when an exception left: it says why.
    """

    __slots__ = ("_held", "_verify", "early", "output")

    def __init__(self, verify: Callable[[bytes, bytes], bool] | None) -> None:
        """`verify` tells whether a user, with an empty password, may come in; None lets all in."""
        self._verify = verify
        self._held = b""
        self.output = b""
        self.early = b""
        """What came after the request."""

    def receive_data(self, data: Buffer) -> SocksRequest | None:
        """Take what arrived; the request once it is complete. Not called after that.

        Raises:
            AuthenticationFailed: unknown user.
            RemoteProtocolError: not SOCKS4.
        """
        held = self._held + data if self._held else bytes(data)
        self._held = held
        if held[:1] not in (b"", b"\x04"):
            raise RemoteProtocolError("socks4-bad-version", f"version {held[0]}")
        user = self._text(held, _USER_AT, MAX_USER_BYTES)
        if user is None:
            return None
        end = _USER_AT + len(user) + 1
        host = inet_ntop(AF_INET, held[4:_USER_AT])
        if held[4:7] == b"\x00\x00\x00" and held[7]:
            name = self._text(held, end, MAX_NAME_BYTES)
            if name is None:
                return None
            end += len(name) + 1
            host = self._host(name)
        self._check(user)
        self._held = b""
        self.early = held[end:]
        return SocksRequest(held[1], host, held[2] << 8 | held[3], user)

    def _text(self, held: bytes, start: int, limit: int) -> bytes | None:
        end = held.find(b"\x00", start, start + limit + 1)
        if end >= 0:
            return held[start:end]
        if len(held) > start + limit:
            self.output = encode_reply(REJECTED)
            raise RemoteProtocolError("socks4-bad-request", "a text that is too long")
        return None

    def _host(self, name: bytes) -> str:
        if _NAME.fullmatch(name) is None:
            self.output = encode_reply(REJECTED)
            raise RemoteProtocolError("socks4-bad-request", "not a host name")
        return name.decode("ascii")

    def _check(self, user: bytes) -> None:
        if self._verify is not None and not self._verify(user, b""):
            self.output = encode_reply(USER_MISMATCH)
            raise AuthenticationFailed("socks4-auth-failed")


def encode_reply(code: int) -> bytes:
    """The reply to a request; clients of CONNECT do not look at its address."""
    return bytes((0, code)) + bytes(6)
