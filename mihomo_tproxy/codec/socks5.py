"""SOCKS5: messages, and the server's side of a handshake (RFC 1928, RFC 1929).

    greeting       | 5 | n | methods n |                  -> choice | 5 | method |
    user/password  | 1 | n | user n | m | password m |    -> | 1 | 0 for success |
    request        | 5 | command | 0 | ATYP address port | -> reply  | 5 | code | 0 | ATYP ... |
    UDP datagram   | 0 0 | fragment | ATYP address port | data |

The server holds less than one message, at most 513 bytes. Causes: `socks5-bad-version`,
`socks5-bad-request`, `socks5-no-method`, `socks5-auth-failed`, `socks5-fragment`,
`socks5-short`, and `bad-address` of `codec.address`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from mihomo_tproxy.codec.address import SOCKS_NAME, encode_socks_address, parse_socks_address
from mihomo_tproxy.errors import AuthenticationFailed, LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mihomo_tproxy.codec.layer import Buffer

VERSION: Final = 5
AUTH_VERSION: Final = 1

NO_AUTHENTICATION: Final = 0
USERNAME_PASSWORD: Final = 2
NO_ACCEPTABLE_METHOD: Final = 0xFF

CONNECT: Final = 1
BIND: Final = 2
UDP_ASSOCIATE: Final = 3

SUCCEEDED: Final = 0
GENERAL_FAILURE: Final = 1
NOT_ALLOWED: Final = 2
NETWORK_UNREACHABLE: Final = 3
HOST_UNREACHABLE: Final = 4
CONNECTION_REFUSED: Final = 5
TTL_EXPIRED: Final = 6
COMMAND_NOT_SUPPORTED: Final = 7
ADDRESS_TYPE_NOT_SUPPORTED: Final = 8

MAX_CREDENTIAL_BYTES: Final = 255
_UDP_PREFIX: Final = b"\x00\x00\x00"
_ADDRESS_AT: Final = 3


class SocksRequest(NamedTuple):
    """What a client asks for, in SOCKS5 or SOCKS4."""

    command: int
    host: str
    """An IP literal or a name, as the client wrote it."""
    port: int
    user: bytes
    """Who asks; b"" for nobody in particular."""


class Socks5Server:
    """The server's side, up to the request; the reply is `encode_reply`.

    What is in `output` goes to the client, also when an exception left: it says why.
    """

    __slots__ = ("_held", "_step", "_user", "_verify", "early", "output")

    def __init__(self, verify: Callable[[bytes, bytes], bool] | None) -> None:
        """`verify` tells whether user name and password are good; None lets everybody in."""
        self._verify = verify
        self._held = b""
        self._step: Callable[[bytes], int] | None = self._greeting
        self._user = b""
        self.output = b""
        self.early = b""
        """What came after the request."""

    def receive_data(self, data: Buffer) -> SocksRequest | None:
        """Take what arrived; the request once it is complete. Not called after that.

        Raises:
            AuthenticationFailed: unknown user or wrong password.
            RemoteProtocolError: not SOCKS5, or no method or address we know.
        """
        held = self._held + data if self._held else bytes(data)
        while self._step is not None:
            used = self._step(held)
            if not used:
                self._held = held
                return None
            held = held[used:]
        found = self._parse_request(held)
        if found is None:
            self._held = held
            return None
        command, (host, port, end) = held[1], found
        self._held = b""
        self.early = held[end:]
        return SocksRequest(command, host, port, self._user)

    def _greeting(self, held: bytes) -> int:
        if held[:1] not in (b"", b"\x05"):
            raise RemoteProtocolError("socks5-bad-version", f"version {held[0]}")
        if len(held) < 2 or len(held) < 2 + held[1]:
            return 0
        methods = held[2 : 2 + held[1]]
        # A client that insists on a password may show any where none is asked for.
        if self._verify is None and NO_AUTHENTICATION in methods:
            self.output += bytes((VERSION, NO_AUTHENTICATION))
            self._step = None
        elif USERNAME_PASSWORD in methods:
            self.output += bytes((VERSION, USERNAME_PASSWORD))
            self._step = self._credentials
        else:
            self.output += bytes((VERSION, NO_ACCEPTABLE_METHOD))
            raise RemoteProtocolError("socks5-no-method", "no method in common")
        return 2 + held[1]

    def _credentials(self, held: bytes) -> int:
        if held[:1] not in (b"", b"\x01"):
            raise RemoteProtocolError("socks5-bad-request", f"authentication version {held[0]}")
        if len(held) < 2 or len(held) < 3 + held[1]:
            return 0
        middle = 2 + held[1]
        end = middle + 1 + held[middle]
        if len(held) < end:
            return 0
        user = held[2:middle]
        if self._verify is not None and not self._verify(user, held[middle + 1 : end]):
            self.output += bytes((AUTH_VERSION, 1))
            raise AuthenticationFailed("socks5-auth-failed")
        self._user = user
        self.output += bytes((AUTH_VERSION, 0))
        self._step = None
        return end

    def _parse_request(self, held: bytes) -> tuple[str, int, int] | None:
        if held[:1] not in (b"", b"\x05"):
            raise RemoteProtocolError("socks5-bad-request", f"version {held[0]} in a request")
        try:
            return parse_socks_address(held, _ADDRESS_AT)
        except RemoteProtocolError:
            named = held[_ADDRESS_AT] == SOCKS_NAME
            self.output += encode_reply(HOST_UNREACHABLE if named else ADDRESS_TYPE_NOT_SUPPORTED)
            raise


def encode_reply(code: int, host: str = "0.0.0.0", port: int = 0) -> bytes:  # noqa: S104 # no address
    """The reply to a request."""
    return bytes((VERSION, code, 0)) + encode_socks_address(host, port)


def encode_request(command: int, host: str, port: int) -> bytes:
    """A request.

    Raises:
        LocalProtocolError: the host cannot be written.
    """
    return bytes((VERSION, command, 0)) + encode_socks_address(host, port)


def encode_credentials(username: str, password: str) -> bytes:
    """The user name and password message, in UTF-8.

    Raises:
        LocalProtocolError: one of them is too long.
    """
    user, secret = username.encode(), password.encode()
    if len(user) > MAX_CREDENTIAL_BYTES or len(secret) > MAX_CREDENTIAL_BYTES:
        raise LocalProtocolError("socks5-bad-credentials", "over 255 bytes")
    return b"%c%c%b%c%b" % (AUTH_VERSION, len(user), user, len(secret), secret)


def encode_udp(data: Buffer, host: str, port: int) -> bytes:
    """A datagram to a host, or from one, as it goes to the relay, or comes from it.

    Raises:
        LocalProtocolError: the host cannot be written.
    """
    return b"".join((_UDP_PREFIX, encode_socks_address(host, port), data))


def parse_udp(data: Buffer) -> tuple[str, int, int]:
    """Host and port of a datagram, and where its payload begins.

    Raises:
        RemoteProtocolError: no header, or a fragment of a datagram, which nobody puts together.
    """
    if len(data) > _ADDRESS_AT and data[2]:
        raise RemoteProtocolError("socks5-fragment", f"fragment {data[2]}")
    found = parse_socks_address(data, _ADDRESS_AT)
    if found is None:
        raise RemoteProtocolError("socks5-short", f"a datagram of {len(data)} bytes")
    return found
