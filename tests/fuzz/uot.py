"""Datagrams of UDP over TCP."""

from __future__ import annotations

from mihomo_tproxy.codec.uot import UotPackets
from mihomo_tproxy.errors import ProtocolError

MAX_HELD = 65535 + 2 + 259


def target(data: bytes) -> None:
    """Nothing but a ProtocolError escapes, in one piece and in two it is the same."""
    whole, pieced = (_outcome(chunks) for chunks in ([data], [data[:7], data[7:]]))
    assert whole[-1:] == pieced[-1:]
    if whole[-1:] != ["bad-address"]:
        assert whole == pieced


def _outcome(chunks: list[bytes]) -> list[object]:
    layer = UotPackets(1, "192.0.2.1", 53)
    found: list[object] = []
    try:
        for chunk in chunks:
            found += layer.feed_packets(chunk)
            assert len(layer._held) <= MAX_HELD
        layer.feed_eof()
    except ProtocolError as error:
        found.append(error.cause)
    return found
