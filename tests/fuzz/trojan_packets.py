"""Datagrams of a Trojan server."""

from __future__ import annotations

from mihomo_tproxy.codec.trojan import TrojanPackets
from mihomo_tproxy.errors import ProtocolError

MAX_HELD = 65535 + 4 + 259


def target(data: bytes) -> None:
    """Nothing but a ProtocolError escapes, in one piece and in two it is the same."""
    whole, pieced = (_outcome(chunks) for chunks in ([data], [data[:7], data[7:]]))
    assert whole[-1:] == pieced[-1:]
    if whole[-1:] != ["broken"]:
        assert whole == pieced


def _outcome(chunks: list[bytes]) -> list[object]:
    layer = TrojanPackets(b"", "192.0.2.1", 53)
    found: list[object] = []
    try:
        for chunk in chunks:
            found += layer.feed_packets(chunk)
            assert len(layer._held) <= MAX_HELD
        layer.feed_eof()
    except ProtocolError as error:
        found.append("truncated" if error.cause == "trojan-truncated" else "broken")
    return found
