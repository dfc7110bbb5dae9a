"""Answers to an HTTP upgrade, and to the request of the HTTP transport."""

from __future__ import annotations

from mihomo_tproxy.codec.http1 import MAX_HEAD_BYTES
from mihomo_tproxy.config.specs.transport import HttpSpec, WebSocketSpec
from mihomo_tproxy.errors import ProtocolError
from mihomo_tproxy.transport.http import HttpLayer, HttpRequest
from mihomo_tproxy.transport.httpupgrade import HttpUpgradeLayer
from mihomo_tproxy.transport.upgrade import UpgradeRequest

UPGRADE = UpgradeRequest(WebSocketSpec(headers=(("Host", "a"),)))
HTTP = HttpRequest(HttpSpec(headers=(("Host", ("a",)),)))
PREFIX = b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"


def target(data: bytes) -> None:
    """Nothing but a ProtocolError escapes; what is behind the answer is passed on as it is."""
    for wire in (data, PREFIX + data):
        for layer in (HttpUpgradeLayer(UPGRADE), HttpLayer(HTTP)):
            layer.begin()
            layer.output = b""
            layer.seal(b"x")
            half = len(wire) // 2
            try:
                payload = bytes(layer.feed(wire[:half])) + bytes(layer.feed(wire[half:]))
            except ProtocolError:
                continue
            if layer.transparent:
                assert wire.endswith(b"\r\n\r\n" + payload)
            else:
                assert not payload
                assert len(wire) <= MAX_HEAD_BYTES + 4
