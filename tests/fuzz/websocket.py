"""WebSocket frames of a server, behind the handshake and without."""

from __future__ import annotations

from mihomo_tproxy.codec.websocket import FrameReader
from mihomo_tproxy.config.specs.transport import WebSocketSpec
from mihomo_tproxy.errors import ProtocolError
from mihomo_tproxy.transport.upgrade import UpgradeRequest
from mihomo_tproxy.transport.websocket import WebSocketLayer

REQUEST = UpgradeRequest(WebSocketSpec(headers=(("Host", "a"),)))
ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n\r\n"
)
"""To a key of 16 zero bytes."""
MAX_HELD_BYTES = 127


def target(data: bytes) -> None:
    """Nothing but a ProtocolError escapes; pieces give the same payload; little is held."""
    whole = _read([data])
    half = len(data) // 2
    assert _read([data[:half], data[half:]]) == whole
    for wire in (data, ANSWER + data):
        layer = WebSocketLayer(REQUEST, bytes)
        layer.begin()
        try:
            payload = layer.feed(wire)
            layer.feed_eof()
        except ProtocolError:
            continue
        assert whole is not None
        assert bytes(payload) == whole


def _read(chunks: list[bytes]) -> bytes | None:
    reader = FrameReader()
    payload = b""
    try:
        for chunk in chunks:
            payload += reader.feed(chunk)
            assert len(reader._held) <= MAX_HELD_BYTES
    except ProtocolError:
        return None
    return payload
