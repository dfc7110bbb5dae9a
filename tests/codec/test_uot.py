"""UDP over TCP. Its magic names and forms are sing-box's documentation's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.shadowsocks import pieces

from mihomo_tproxy.codec.layer import Packet
from mihomo_tproxy.codec.uot import MAX_DATAGRAM, UotPackets
from mihomo_tproxy.errors import LocalProtocolError, ProtocolError, RemoteProtocolError

names = st.from_regex(r"[a-z][a-z0-9.-]{0,60}[a-z]", fullmatch=True)
# An IPv4 address in IPv6's clothes comes back as IPv4.
addresses = st.ip_addresses().map(str).filter(lambda text: not text.startswith("::ffff:"))
datagrams = st.builds(Packet, st.binary(max_size=300), names | addresses, st.integers(0, 65535))


def packets(version: int = 1) -> UotPackets:
    return UotPackets(version, "192.0.2.1", 53)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.1", b"\0\xc0\0\x02\x01"),
        ("2001:db8::1", b"\x01\x20\x01\x0d\xb8" + bytes(11) + b"\x01"),
        ("a.example", b"\x02\x09a.example"),
    ],
)
def test_version_1(host: str, address: bytes) -> None:
    wire = packets().seal_packet(memoryview(b"query"), host, 53)
    assert wire == address + b"\0\x35\0\x05query"
    assert packets().feed_packets(wire) == [(b"query", host, 53)]


def test_a_datagram_after_a_longer_one_in_pieces_is_not_held_back() -> None:
    ours, theirs = packets(), packets()
    long, short = Packet(bytes(1000), "192.0.2.2", 53), Packet(b"one", "192.0.2.2", 53)
    wire = bytes(ours.seal_packet(*long))
    assert theirs.feed_packets(wire[:50]) == []
    assert theirs.feed_packets(wire[50:]) == [long]
    assert theirs.feed_packets(ours.seal_packet(*short)) == [short]


def test_version_2_has_a_request() -> None:
    layer = packets(2)
    layer.begin()
    assert layer.ready
    assert layer.output == b""
    datagram = b"\0\xc0\0\x02\x02\0\x36\0\x03one"
    first = layer.seal_packet(b"one", "192.0.2.2", 54)
    assert first == b"\0\x01\xc0\0\x02\x01\0\x35" + datagram
    assert layer.seal_packet(b"one", "192.0.2.2", 54) == datagram


@given(st.lists(datagrams, max_size=5), st.lists(st.integers(0, 2000)))
def test_any_pieces(wanted: list[Packet], cuts: list[int]) -> None:
    ours, theirs = packets(), packets()
    wire = b"".join(bytes(ours.seal_packet(*packet)) for packet in wanted)
    got = [packet for piece in pieces(wire, cuts) for packet in theirs.feed_packets(piece)]
    assert got == wanted
    theirs.feed_eof()


def test_every_truncation() -> None:
    wire = packets().seal_packet(b"query", "a.example", 53)
    for size in range(1, len(wire)):
        layer = packets()
        assert layer.feed_packets(wire[:size]) == []
        with pytest.raises(RemoteProtocolError) as caught:
            layer.feed_eof()
        assert caught.value.cause == "uot-cut-short"


def test_a_short_datagram_after_a_long_one_in_pieces() -> None:
    layer = packets()
    long = packets().seal_packet(bytes(1000), "192.0.2.1", 1)
    assert layer.feed_packets(long[:100]) == []
    assert len(layer.feed_packets(long[100:])) == 1
    assert len(layer.feed_packets(packets().seal_packet(b"", "192.0.2.1", 1))) == 1


def test_the_longest() -> None:
    layer = packets()
    data = bytes(MAX_DATAGRAM)
    assert layer.feed_packets(packets().seal_packet(data, "192.0.2.1", 1))[0].data == data
    with pytest.raises(LocalProtocolError) as caught:
        layer.seal_packet(bytes(MAX_DATAGRAM + 1), "192.0.2.1", 1)
    assert caught.value.cause == "uot-too-long"


def test_what_cannot_be_said() -> None:
    with pytest.raises(LocalProtocolError):
        UotPackets(2, "x" * 256, 1)
    with pytest.raises(LocalProtocolError):
        packets().seal_packet(b"", "x" * 256, 1)
    with pytest.raises(RemoteProtocolError):
        packets().feed_packets(b"\x03")


@given(st.binary(max_size=1000), st.lists(st.integers(0, 1000)))
def test_arbitrary_bytes(data: bytes, cuts: list[int]) -> None:
    layer = packets()
    got = 0
    try:
        for piece in pieces(data, cuts):
            got += sum(len(packet.data) for packet in layer.feed_packets(piece))
    except ProtocolError:
        return
    assert got + len(layer._held) <= len(data)
