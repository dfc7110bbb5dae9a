"""The request that turns an HTTP/1.1 connection into something else, and the answer to it.

RFC 9110, 7.8; RFC 6455, 4.1; early data as v2ray has it (v2fly.org, `stream/websocket`): the first
bytes of the payload go with the request in base64url without padding, in a header or at the end of
the path, and save a round trip. Causes: `http-status` when the server answers, but not 101;
`http-bad-head`, `http-head-too-large`, `http-no-upgrade`, `http-eof`.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.codec.http1 import HeadReader, encode_request, field_values, parse_response
from mihomo_tproxy.errors import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from mihomo_tproxy.codec.http1 import ResponseHead
    from mihomo_tproxy.codec.layer import Buffer
    from mihomo_tproxy.config.specs.transport import WebSocketSpec

DEFAULT_USER_AGENT: Final = "Go-http-client/1.1"
"""mihomo's: some CDNs refuse requests without any, and a server that lets mihomo in lets us in."""
MAX_WAITING_BYTES: Final = 128 * 1024
"""Payload that may wait for the server's answer."""

_SWITCHING_PROTOCOLS: Final = 101
_BEGINNING: Final = b"HTTP/1."


class UpgradeRequest:
    """The request of one proxy, all but the key and the early data. Made once, used for all."""

    __slots__ = ("_after_path", "_before_path", "_early_header", "max_early_data")

    def __init__(self, spec: WebSocketSpec) -> None:
        headers = list(spec.headers)
        names = {name.lower() for name, _ in headers}
        headers.sort(key=lambda item: item[0].lower() != "host")
        if "user-agent" not in names:
            headers.append(("User-Agent", DEFAULT_USER_AGENT))
        headers += [("Connection", "Upgrade"), ("Upgrade", "websocket")]
        self.max_early_data = spec.max_early_data
        """Bytes of payload that go with the request; 0: none."""
        encoded = [(name, value.encode().decode("latin-1")) for name, value in headers]
        head = encode_request("GET", spec.path, encoded)
        path, mark, query = spec.path.encode("ascii").partition(b"?")
        self._before_path = b"GET " + path
        self._after_path = mark + query + head[len(b"GET ") + len(spec.path) : -2]
        self._early_header = spec.early_data_header_name.encode("ascii")

    def build(self, early: Buffer = b"", key: bytes = b"") -> bytes:
        """The request, with a `Sec-WebSocket-Key` if there is one, and with early data."""
        fields = b""
        if key:
            fields = b"Sec-WebSocket-Key: %b\r\nSec-WebSocket-Version: 13\r\n" % key
        path_data = b""
        if early:
            encoded = urlsafe_b64encode(early).rstrip(b"=")
            if self._early_header:
                fields += b"%b: %b\r\n" % (self._early_header, encoded)
            else:
                path_data = encoded
        return b"%b%b%b%b\r\n" % (self._before_path, path_data, self._after_path, fields)


class ResponseReader:
    """Waits for the head of the response, and holds at most that."""

    __slots__ = ("_head", "_matched")

    def __init__(self) -> None:
        self._head = HeadReader()
        self._matched = 0

    @property
    def begun(self) -> bool:
        """Whether anything has come."""
        return self._matched > 0

    def feed(self, data: Buffer) -> tuple[ResponseHead, bytes] | None:
        """The response and the bytes after it; None while it is incomplete.

        Raises:
            RemoteProtocolError: this is no HTTP/1 response.
        """
        if self._matched < len(_BEGINNING):
            expected = _BEGINNING[self._matched :][: len(data)]
            if data[: len(expected)] != expected:
                raise RemoteProtocolError("http-bad-head", "not an HTTP/1 response")
            self._matched += len(expected)
        found = self._head.feed(data)
        return (parse_response(found[0]), found[1]) if found else None


class Waiting:
    """Payload that waits until the server has answered."""

    __slots__ = ("_held", "_size")

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._size = 0

    def add(self, payload: Buffer) -> None:
        """Keep a copy.

        Raises:
            LocalProtocolError: it is too much; who drives the layer ignores `blocked`.
        """
        self._size += len(payload)
        if self._size > MAX_WAITING_BYTES:
            raise LocalProtocolError("http-too-early", "payload before the server has answered")
        if payload:
            self._held.append(bytes(payload))

    def take(self) -> bytes:
        """All of it; nothing is left."""
        held, self._held, self._size = self._held, [], 0
        return b"".join(held)


def check_upgraded(response: ResponseHead) -> None:
    """See that the server switches to what we asked for.

    Raises:
        RemoteProtocolError: it does not.
    """
    if response.status != _SWITCHING_PROTOCOLS:
        raise RemoteProtocolError("http-status", f"status {response.status} instead of 101")
    headers = response.headers
    if "websocket" not in field_values(headers, "upgrade"):
        raise RemoteProtocolError("http-no-upgrade", "101 without Upgrade: websocket")
    if "upgrade" not in field_values(headers, "connection"):
        raise RemoteProtocolError("http-no-upgrade", "101 without Connection: Upgrade")
