"""`network: http`: an HTTP/1.1 request before the stream, a response before the other direction.

v2fly.org, `stream/tcp`, HttpHeaderObject; sing-box takes it as its HTTP transport without TLS. The
first payload is the body of the request and leaves with it; what follows is the stream as it is.
After the response was stripped the layer is transparent. Causes: `http-status` for an answer that
is no success, `http-bad-head`, `http-head-too-large`, `http-eof`.
"""

from __future__ import annotations

from random import choice
from typing import TYPE_CHECKING

from mihomo_tproxy.codec.http1 import encode_request
from mihomo_tproxy.codec.layer import Layer
from mihomo_tproxy.errors import NoAnswer, RemoteProtocolError
from mihomo_tproxy.transport.upgrade import DEFAULT_USER_AGENT, ResponseReader

if TYPE_CHECKING:
    from mihomo_tproxy.codec.layer import Buffer
    from mihomo_tproxy.config.specs.transport import HttpSpec


class HttpRequest:
    """The request of one proxy; paths and header values are drawn anew for each connection."""

    __slots__ = ("_fixed", "_headers", "_method", "_paths")

    def __init__(self, spec: HttpSpec) -> None:
        self._method = spec.method
        self._paths = spec.paths
        headers = sorted(spec.headers, key=lambda item: item[0].lower() != "host")
        if "user-agent" not in {name.lower() for name, _ in headers}:
            headers.append(("User-Agent", (DEFAULT_USER_AGENT,)))
        self._headers = [
            (name, [value.encode().decode("latin-1") for value in values])
            for name, values in headers
            if name.lower() != "content-length"
        ]
        varied = len(self._paths) > 1 or any(len(values) > 1 for _, values in self._headers)
        self._fixed = b"" if varied else self._draw()

    def build(self, body_bytes: int) -> bytes:
        """The head of a request whose body is that long."""
        head = self._fixed or self._draw()
        if not body_bytes:
            return head
        return b"%bContent-Length: %d\r\n\r\n" % (head[:-2], body_bytes)

    def _draw(self) -> bytes:
        headers = [(name, choice(values)) for name, values in self._headers]  # noqa: S311
        return encode_request(self._method, choice(self._paths), headers)  # noqa: S311


class HttpLayer(Layer):
    """The client's side of one connection."""

    __slots__ = ("_request", "_response")

    def __init__(self, request: HttpRequest) -> None:
        super().__init__()
        self._request: HttpRequest | None = request
        """Until it was sent."""
        self._response: ResponseReader | None = ResponseReader()
        """Until the response was read."""

    def feed(self, data: Buffer) -> Buffer:
        """Strips the response.

        Raises:
            RemoteProtocolError: it is none, or no success.
        """
        if self._response is None:
            return data
        found = self._response.feed(data)
        if found is None:
            return b""
        response, rest = found
        if response.status // 100 != 2:
            raise RemoteProtocolError("http-status", f"status {response.status}")
        self._response = None
        self.transparent = self._request is None
        return rest

    def feed_eof(self) -> None:
        """The wire ended.

        Raises:
            NoAnswer: before the response; servers send it along with the first payload.
            RemoteProtocolError: within it.
        """
        if self._response is not None:
            kind = RemoteProtocolError if self._response.begun else NoAnswer
            raise kind("http-eof", "the stream ended instead of a response")

    def seal(self, payload: Buffer) -> Buffer:
        """The payload, the first time behind the request."""
        request = self._request
        if request is None:
            return payload
        self._request = None
        self.transparent = self._response is None
        return request.build(len(payload)) + payload
