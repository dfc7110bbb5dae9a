"""`v2ray-http-upgrade`: WebSocket's handshake without a key, and then the payload as it is.

v2fly.org, `stream/httpupgrade`. Early data as in WebSocket; with fast open the payload follows the
request at once, however much it is, and the answer is read when it comes. From the answer on the
layer is transparent. Causes: those of `upgrade`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.codec.layer import Layer
from mihomo_tproxy.errors import RemoteProtocolError
from mihomo_tproxy.transport.upgrade import ResponseReader, Waiting, check_upgraded

if TYPE_CHECKING:
    from mihomo_tproxy.codec.layer import Buffer
    from mihomo_tproxy.transport.upgrade import UpgradeRequest


class HttpUpgradeLayer(Layer):
    """The client's side of one upgraded connection."""

    __slots__ = ("_fast_open", "_request", "_response", "_waiting")

    def __init__(self, request: UpgradeRequest, fast_open: bool = False) -> None:
        super().__init__()
        self.ready = fast_open or request.max_early_data > 0
        self._fast_open = fast_open
        self._request: UpgradeRequest | None = request
        """Until it was sent."""
        self._response: ResponseReader | None = ResponseReader()
        """Until the response was read."""
        self._waiting = Waiting()

    def begin(self) -> None:
        """Asks the server, unless the request takes payload along."""
        if not self.ready and self._request is not None:
            self.output = self._request.build()
            self._request = None

    def feed(self, data: Buffer) -> Buffer:
        """Strips the response.

        Raises:
            RemoteProtocolError: the server does not answer as asked.
        """
        if self._response is None:
            return data
        found = self._response.feed(data)
        if found is None:
            return b""
        check_upgraded(found[0])
        self._response = None
        self.ready = True
        self.blocked = False
        self.output = self._waiting.take()
        self.transparent = self._request is None
        return found[1]

    def feed_eof(self) -> None:
        """The wire ended.

        Raises:
            RemoteProtocolError: before the response.
        """
        if self._response is not None:
            raise RemoteProtocolError("http-eof", "the stream ended instead of a response")

    def seal(self, payload: Buffer) -> Buffer:
        """The payload, behind the request if that was not sent yet.

        Raises:
            LocalProtocolError: much more than may wait for the response.
        """
        request = self._request
        if request is None:
            if self._response is None or self._fast_open:
                return payload
            self._waiting.add(payload)
            return b""
        self._request = None
        early = request.max_early_data
        head = request.build(payload[:early])
        rest = payload[early:]
        self.transparent = self._response is None
        if self._fast_open:
            return head + rest
        self._waiting.add(rest)
        self.blocked = self._response is not None
        return head
