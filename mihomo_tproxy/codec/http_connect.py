"""HTTP CONNECT, the client's side (RFC 9110, 9.3.6): a stream through an HTTP/1.1 proxy.

    us      CONNECT host:port HTTP/1.1 CRLF Host: host:port CRLF ... CRLF
    proxy   [1xx responses] HTTP/1.x 2xx ... CRLF CRLF            -> payload, unchanged

Of a response only the status matters: its fields have no meaning here, and the body of a refusal
is not waited for. At most `MAX_HEAD_BYTES` of a head and `MAX_INTERIM` heads before the final one
are taken. Causes: `http-auth-failed`, `http-not-allowed`, `http-unreachable`, `http-timeout`,
`http-refused`, `http-truncated`, and those of `codec.http1`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mihomo_tproxy.codec.http1 import HeadReader, encode_fields, parse_status
from mihomo_tproxy.codec.http1_target import encode_authority, encode_basic
from mihomo_tproxy.codec.layer import Layer
from mihomo_tproxy.errors import AuthenticationFailed, DestinationRefused, RemoteProtocolError

if TYPE_CHECKING:
    from mihomo_tproxy.codec.layer import Buffer

MAX_INTERIM: Final = 8
_PROTOCOL: Final = b"HTTP/"
_AUTHENTICATION_REQUIRED: Final = (401, 407)
"""Of a proxy 407 by the book; tinyproxy says 401 to a wrong password."""
_CAUSES: Final = {
    403: "http-not-allowed",
    405: "http-not-allowed",
    408: "http-timeout",
    502: "http-unreachable",
    503: "http-unreachable",
    504: "http-timeout",
}


class ConnectFields:
    """What every request to one proxy says beside the destination."""

    __slots__ = ("_host", "_tail")

    def __init__(
        self,
        username: str = "",
        password: str = "",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """`headers` are added; a `Host` among them takes the place of the destination there.

        Raises:
            LocalProtocolError: a header cannot be written.
        """
        hosts = [value for name, value in headers if name.lower() == "host"]
        fields = [(name, value) for name, value in headers if name.lower() != "host"]
        if username or password:
            fields = [item for item in fields if item[0].lower() != "proxy-authorization"]
            fields.append(("Proxy-Authorization", encode_basic(username, password)))
        self._host = encode_fields([("Host", hosts[-1])]) if hosts else b""
        self._tail = encode_fields(fields) + b"\r\n"

    def request(self, host: str, port: int) -> bytes:
        """The request head for a destination.

        Raises:
            LocalProtocolError: no host that HTTP can name.
        """
        authority = encode_authority(host, port).encode("ascii")
        own = self._host or b"Host: %b\r\n" % authority
        return b"CONNECT %b HTTP/1.1\r\n%b%b" % (authority, own, self._tail)


class HttpConnect(Layer):
    """A stream to one destination."""

    __slots__ = ("_interim", "_reader", "_request")

    def __init__(self, fields: ConnectFields, host: str, port: int) -> None:
        """As `ConnectFields.request`.

        Raises:
            LocalProtocolError: no host that HTTP can name.
        """
        super().__init__()
        self.ready = False
        self._request = fields.request(host, port)
        self._reader = HeadReader(_PROTOCOL)
        self._interim = 0

    def begin(self) -> None:
        """Ask."""
        self.output = self._request

    def feed(self, data: Buffer) -> Buffer:
        """Take the proxy's response, then payload.

        Raises:
            AuthenticationFailed: the proxy wants other credentials.
            DestinationRefused: another status than success.
            RemoteProtocolError: not HTTP/1.
        """
        if self.ready:
            return data
        while True:
            found = self._reader.feed(data)
            if found is None:
                return b""
            status = parse_status(found[0])
            data = found[1]
            if status >= 200 or status == 101:
                break
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise RemoteProtocolError("http-bad-head", "no end of interim responses")
        if not 200 <= status < 300:
            raise _refusal(status)
        self.ready = self.transparent = True
        return data

    def feed_eof(self) -> None:
        """The proxy closed.

        Raises:
            RemoteProtocolError: before it let us through.
        """
        if not self.ready:
            raise RemoteProtocolError("http-truncated", "closed during the handshake")


def _refusal(status: int) -> RemoteProtocolError:
    if status in _AUTHENTICATION_REQUIRED:
        return AuthenticationFailed("http-auth-failed", f"status {status}")
    return DestinationRefused(_CAUSES.get(status, "http-refused"), f"status {status}")
