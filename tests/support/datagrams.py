"""What every layer of framed datagrams must stand, however its bytes are cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mihomo_tproxy.errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mihomo_tproxy.codec.frames import FramedPackets
    from mihomo_tproxy.codec.layer import Packet


def feed_in(make: Callable[[], FramedPackets], wire: bytes, size: int) -> list[Packet]:
    """The datagrams of wire bytes that arrive `size` at a time, from a buffer used again."""
    layer = make()
    got: list[Packet] = []
    buffer = bytearray(size)
    for start in range(0, len(wire), size):
        part = wire[start : start + size]
        buffer[: len(part)] = part
        got += layer.feed_packets(memoryview(buffer)[: len(part)])
    layer.feed_eof()
    return got


def check_every_cut(
    make: Callable[[], FramedPackets], frames: list[bytes], packets: list[Packet]
) -> None:
    """Any chunk size gives the same datagrams; an end within a frame is told, one between not."""
    wire = b"".join(frames)
    for size in range(1, len(wire) + 1):
        assert feed_in(make, wire, size) == packets, size
    ends = {0}
    for frame in frames:
        ends.add(max(ends) + len(frame))
    for end in range(len(wire)):
        layer = make()
        got = layer.feed_packets(wire[:end])
        assert got == packets[: len(got)]
        if end in ends:
            layer.feed_eof()
        else:
            with pytest.raises(RemoteProtocolError) as caught:
                layer.feed_eof()
            assert caught.value.cause == "frame-cut-short"
