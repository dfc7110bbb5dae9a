"""XUDP: what a server sends."""

from __future__ import annotations

from mihomo_tproxy.codec.xudp import MAX_METADATA, XudpLayer
from mihomo_tproxy.errors import ProtocolError

MAX_FRAME = 2 + MAX_METADATA + 2 + 65535


def target(data: bytes) -> None:
    """Nothing but a ProtocolError escapes, and a cut changes nothing."""
    half = len(data) // 2
    whole, cause = _fed([data])
    cut, same = _fed([data[:half], data[half:]])
    assert cause == same
    if not cause:
        assert whole == cut


def _fed(parts: list[bytes]) -> tuple[list[object], str]:
    layer = XudpLayer()
    packets: list[object] = []
    try:
        for part in parts:
            packets += layer.feed_packets(part)
            assert len(layer._held or b"") < MAX_FRAME
        layer.feed_eof()
    except ProtocolError as error:
        return packets, error.cause
    return packets, ""
