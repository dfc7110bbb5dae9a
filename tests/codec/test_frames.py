"""Datagrams in frames of a stream."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mihomo_tproxy.codec.frames import FramedPackets
from mihomo_tproxy.codec.layer import Packet


class OneByteLength(FramedPackets):
    """A length of one byte, then the datagram; a length of 255 ends the session."""

    looked = 0

    def _take(self, data, start, packets):
        self.looked += 1
        if data[start] == 255:
            self.ended = True
            return start + 1
        end = start + 1 + data[start]
        if end <= len(data):
            packets.append(Packet(bytes(data[start + 1 : end]), "", 0))
        return end


def datagrams(layer: FramedPackets, wire: bytes, sizes: list[int]) -> list[bytes]:
    got = []
    for size in sizes:
        got += layer.feed_packets(wire[:size])
        wire = wire[size:]
    got += layer.feed_packets(wire)
    return [packet.data for packet in got]


@given(st.lists(st.binary(max_size=254), max_size=20), st.lists(st.integers(0, 300)))
def test_any_chunks_give_the_datagrams(sent: list[bytes], sizes: list[int]) -> None:
    wire = b"".join(bytes((len(data),)) + data for data in sent)
    layer = OneByteLength()
    assert datagrams(layer, wire, sizes) == sent
    layer.feed_eof()


def test_a_frame_is_looked_at_when_it_is_there_not_at_every_byte() -> None:
    layer = OneByteLength()
    assert datagrams(layer, b"\xc8" + bytes(200), [1] * 201) == [bytes(200)]
    assert layer.looked == 2


def test_nothing_is_taken_after_the_end() -> None:
    layer = OneByteLength()
    assert layer.feed_packets(b"\x01a\xff\x01b") == [Packet(b"a", "", 0)]
    assert layer.ended
    assert layer.feed_packets(b"\x01c") == []
    layer.feed_eof()
