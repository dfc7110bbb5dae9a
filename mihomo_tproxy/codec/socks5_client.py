"""SOCKS5, the client's side (RFC 1928, RFC 1929): a stream, or the control of a UDP association.

    us      greeting          [user/password]          request
    server           choice                   [status]         reply    -> payload, unchanged

One message waits for the answer to the one before it. Sending them together would save round trips,
but servers that take one `recv` for one message (microsocks does) lose what follows the first.
With credentials only user/password is offered, so that a server that has both does not take us for
nobody. Less than one answer is held, at most 262 bytes.

Causes: `socks5-bad-version`, `socks5-no-method`, `socks5-auth-failed`, `socks5-truncated`, and one
for each reason of a reply: `socks5-failed`, `socks5-not-allowed`, `socks5-unreachable`,
`socks5-refused`, `socks5-timeout`, `socks5-unsupported`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mihomo_tproxy.codec.address import parse_socks_address
from mihomo_tproxy.codec.layer import Layer
from mihomo_tproxy.codec.socks5 import (
    ADDRESS_TYPE_NOT_SUPPORTED,
    COMMAND_NOT_SUPPORTED,
    CONNECT,
    CONNECTION_REFUSED,
    HOST_UNREACHABLE,
    NETWORK_UNREACHABLE,
    NO_AUTHENTICATION,
    NOT_ALLOWED,
    TTL_EXPIRED,
    UDP_ASSOCIATE,
    USERNAME_PASSWORD,
    VERSION,
    encode_request,
)
from mihomo_tproxy.errors import AuthenticationFailed, DestinationRefused, RemoteProtocolError

if TYPE_CHECKING:
    from mihomo_tproxy.codec.layer import Buffer

UNSPECIFIED: Final = "0.0.0.0"  # noqa: S104 # no address: the server's own is meant
_GREETING: Final = bytes((VERSION, 1, NO_AUTHENTICATION))
_GREETING_WITH_CREDENTIALS: Final = bytes((VERSION, 1, USERNAME_PASSWORD))
_ANSWER_BYTES: Final = 2
_ADDRESS_AT: Final = 3
_CAUSES: Final = {
    NOT_ALLOWED: "socks5-not-allowed",
    NETWORK_UNREACHABLE: "socks5-unreachable",
    HOST_UNREACHABLE: "socks5-unreachable",
    CONNECTION_REFUSED: "socks5-refused",
    TTL_EXPIRED: "socks5-timeout",
    COMMAND_NOT_SUPPORTED: "socks5-unsupported",
    ADDRESS_TYPE_NOT_SUPPORTED: "socks5-unsupported",
}

_CHOICE: Final = 0
_STATUS: Final = 1
_REPLY: Final = 2
_OPEN: Final = 3


class Socks5Connect(Layer):
    """A stream to one destination."""

    __slots__ = ("_credentials", "_held", "_request", "_state", "bound")

    def __init__(self, host: str, port: int, credentials: bytes = b"") -> None:
        """`credentials` is the user/password message, b"" for none.

        Raises:
            LocalProtocolError: the host cannot be written.
        """
        super().__init__()
        self.ready = False
        self._credentials = credentials
        self._request = self._make_request(host, port)
        self._held = b""
        self._state = _CHOICE
        self.bound = ("", 0)
        """The address of the reply: where the server speaks from, or its relay of datagrams."""

    def begin(self) -> None:
        """Greet."""
        self.output = _GREETING_WITH_CREDENTIALS if self._credentials else _GREETING

    def feed(self, data: Buffer) -> Buffer:
        """Take the server's answers, then payload.

        Raises:
            AuthenticationFailed: our credentials are not good, or needed and absent.
            DestinationRefused: the server gives a reason not to.
            RemoteProtocolError: not SOCKS5.
        """
        if self._state == _OPEN:
            return data
        held = self._held + data if self._held else bytes(data)
        while self._state != _REPLY:
            if len(held) < _ANSWER_BYTES:
                self._held = self._check_first(held)
                return b""
            self._take_answer(held[0], held[1])
            held = held[_ANSWER_BYTES:]
        return self._take_reply(held)

    def feed_eof(self) -> None:
        """The server closed.

        Raises:
            RemoteProtocolError: before it let us through.
        """
        if self._state != _OPEN:
            raise RemoteProtocolError("socks5-truncated", "closed during the handshake")

    def _make_request(self, host: str, port: int) -> bytes:
        return encode_request(CONNECT, host, port)

    def _opened(self) -> None:
        self.transparent = True

    def _check_first(self, held: bytes) -> bytes:
        # The status of authentication begins with 1 by the book, with 5 of some servers.
        if held and held[0] != VERSION and self._state != _STATUS:
            raise RemoteProtocolError("socks5-bad-version", f"version {held[0]}")
        return held

    def _take_answer(self, version: int, answer: int) -> None:
        if self._state == _STATUS:
            if answer:
                raise AuthenticationFailed("socks5-auth-failed", f"status {answer}")
        else:
            self._check_first(bytes((version,)))
            wanted = USERNAME_PASSWORD if self._credentials else NO_AUTHENTICATION
            if answer != wanted:
                raise AuthenticationFailed("socks5-no-method", f"method {answer}")
            if self._credentials:
                self.output += self._credentials
                self._state = _STATUS
                return
        self.output += self._request
        self._state = _REPLY

    def _take_reply(self, held: bytes) -> bytes:
        self._check_first(held)
        if len(held) >= _ANSWER_BYTES and held[1]:
            cause = _CAUSES.get(held[1], "socks5-failed")
            raise DestinationRefused(cause, f"reply {held[1]}")
        found = parse_socks_address(held, _ADDRESS_AT)
        if found is None:
            self._held = held
            return b""
        host, port, end = found
        self.bound = (host, port)
        self._held = b""
        self._state = _OPEN
        self.ready = True
        self._opened()
        return held[end:]


class Socks5Associate(Socks5Connect):
    """The control stream of a UDP association: once `ready`, `bound` is where datagrams go.

    The association lasts as long as the stream; what the server says on it means nothing.
    """

    __slots__ = ()

    def __init__(self, credentials: bytes = b"") -> None:
        super().__init__(UNSPECIFIED, 0, credentials)

    def feed(self, data: Buffer) -> Buffer:
        """Take the server's answers.

        Raises:
            ProtocolError: as of a stream.
        """
        super().feed(data)
        return b""

    def _make_request(self, host: str, port: int) -> bytes:
        return encode_request(UDP_ASSOCIATE, host, port)

    def _opened(self) -> None:
        """It never carries payload, so it never gets out of the way."""
