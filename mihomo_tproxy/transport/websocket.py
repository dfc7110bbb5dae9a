"""`network: ws`: the payload in WebSocket's binary messages (RFC 6455).

Without early data nothing but the request leaves before the server's 101. With early data the layer
is ready at once: the first `seal` returns the request with the beginning of the payload in it, the
rest of that payload waits, and the layer is blocked until the 101 has come.

A WebSocket cannot end one direction only, so `finish` says nothing. Causes: those of `upgrade` and
`codec.websocket`, `websocket-accept` for an answer to another key than ours, `websocket-truncated`.
"""

from __future__ import annotations

from base64 import b64encode
from os import urandom
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.codec.layer import Layer
from mihomo_tproxy.codec.websocket import (
    BINARY,
    CLOSE,
    PONG,
    FrameReader,
    accept_key,
    encode_frame,
)
from mihomo_tproxy.errors import RemoteProtocolError
from mihomo_tproxy.transport.upgrade import ResponseReader, Waiting, check_upgraded

if TYPE_CHECKING:
    from collections.abc import Callable

    from mihomo_tproxy.codec.http1 import ResponseHead
    from mihomo_tproxy.codec.layer import Buffer
    from mihomo_tproxy.transport.upgrade import UpgradeRequest

_ACCEPT: Final = "sec-websocket-accept"
_NORMAL_CLOSE: Final = (1000).to_bytes(2, "big")


class WebSocketLayer(Layer):
    """The client's side of one WebSocket."""

    __slots__ = ("_frames", "_key", "_random", "_request", "_response", "_waiting")

    ends_below = False
    tells_end = False

    def __init__(self, request: UpgradeRequest, random: Callable[[int], bytes] = urandom) -> None:
        super().__init__()
        self.ready = request.max_early_data > 0
        self._request: UpgradeRequest | None = request
        """Until it was sent."""
        self._random = random
        self._key = b64encode(random(16))
        self._response: ResponseReader | None = ResponseReader()
        """Until the response was read."""
        self._waiting: Waiting | None = Waiting() if self.ready else None
        self._frames = FrameReader()

    def begin(self) -> None:
        """Asks the server, unless the request takes early data along."""
        if not self.ready and self._request is not None:
            self.output = self._request.build(key=self._key)
            self._request = None

    def feed(self, data: Buffer) -> Buffer:
        """Takes frames apart.

        Raises:
            RemoteProtocolError: the server does not answer as asked, or breaks the protocol.
        """
        if self._response is not None:
            found = self._response.feed(data)
            if found is None:
                return b""
            self._open(found[0])
            data = found[1]
        payload = self._frames.feed(data)
        frames = self._frames
        if frames.ping is not None:
            self.output += encode_frame(PONG, frames.ping, self._random(4))
            frames.ping = None
        if frames.closed and not self.ended:
            self.ended = True
            self.output += encode_frame(CLOSE, _NORMAL_CLOSE, self._random(4))
        return payload

    def feed_eof(self) -> None:
        """Servers that close without a close frame are common, and no loss between frames.

        Raises:
            RemoteProtocolError: before the response, or inside a frame.
        """
        if self._response is not None:
            raise RemoteProtocolError("http-eof", "the stream ended instead of a response")
        if not self.ended and not self._frames.between_frames:
            raise RemoteProtocolError("websocket-truncated", "the stream ended inside a message")

    def seal(self, payload: Buffer) -> Buffer:
        """One frame; the request when early data is due.

        Raises:
            LocalProtocolError: much more than may wait for the response.
        """
        if self._response is None:
            return encode_frame(BINARY, payload, self._random(4)) if payload else b""
        waiting = self._waiting
        if waiting is None:
            return b""  # `begin` has asked, and we are not ready
        request, self._request = self._request, None
        if request is None:
            waiting.add(payload)
            return b""
        early = request.max_early_data
        waiting.add(payload[early:])
        self.blocked = True
        return request.build(payload[:early], self._key)

    def _open(self, response: ResponseHead) -> None:
        check_upgraded(response)
        accept = [value for name, value in response.headers if name.lower() == _ACCEPT]
        if accept != [accept_key(self._key).decode("ascii")]:
            raise RemoteProtocolError("websocket-accept", "the server answers another request")
        self._response = None
        self.ready = True
        self.blocked = False
        if self._waiting is not None:
            rest = self._waiting.take()
            self._waiting = None
            if rest:
                self.output = encode_frame(BINARY, rest, self._random(4))
