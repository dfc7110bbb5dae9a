"""Trojan, the client's side. Datagrams of servers were captured, as each vector says."""

from __future__ import annotations

import itertools
from hashlib import sha224

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mihomo_tproxy.codec.address import encode_socks_address, parse_socks_address
from mihomo_tproxy.codec.layer import Packet
from mihomo_tproxy.codec.trojan import (
    MAX_SENT_BYTES,
    TrojanPackets,
    TrojanStream,
    trojan_key,
)
from mihomo_tproxy.errors import LocalProtocolError, NoAnswer, ProtocolError, RemoteProtocolError

KEY = trojan_key("password")
ENOUGH = 65535 + 4 + 259


def datagram(packet: Packet) -> bytes:
    head = encode_socks_address(packet.host, packet.port) + len(packet.data).to_bytes(2, "big")
    return head + b"\r\n" + packet.data


def packets() -> TrojanPackets:
    return TrojanPackets(KEY, "192.0.2.1", 53)


names = st.from_regex(r"[a-z][a-z0-9.-]{0,60}[a-z]", fullmatch=True)
hosts = names | st.ip_addresses().map(str)
datagrams = st.builds(Packet, st.binary(max_size=300), hosts, st.integers(0, 65535))


def test_the_key() -> None:
    # hashlib's own, and NIST's SHA-224 example for "abc"
    assert sha224(b"password").hexdigest().encode() == KEY
    assert trojan_key("abc") == b"23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"


def test_the_request_leaves_with_the_first_payload() -> None:
    layer = TrojanStream(KEY, "example.com", 443)
    layer.begin()
    assert layer.ready
    assert not layer.transparent
    assert layer.output == b""
    address = b"\x03\x0bexample.com\x01\xbb"
    assert layer.seal(memoryview(b"hello")) == KEY + b"\r\n\x01" + address + b"\r\nhello"
    assert layer.seal(b"more") == b"more"
    assert not layer.transparent
    assert layer.feed(b"answer") == b"answer"
    assert layer.transparent


def test_an_end_without_an_answer_is_told_apart() -> None:
    refused = TrojanStream(KEY, "example.com", 443)
    refused.seal(b"hello")
    with pytest.raises(NoAnswer) as caught:
        refused.feed_eof()
    assert caught.value.cause == "trojan-no-answer"
    finished = TrojanStream(KEY, "example.com", 443)
    finished.seal(b"hello")
    finished.finish()
    finished.feed_eof()
    answered = TrojanStream(KEY, "example.com", 443)
    answered.seal(b"hello")
    answered.feed(b"answer")
    answered.feed_eof()


def test_the_request_does_not_wait_for_payload() -> None:
    layer = TrojanStream(KEY, "192.0.2.1", 80)
    assert layer.feed(b"banner") == b"banner"
    assert layer.seal(b"") == KEY + b"\r\n\x01\x01\xc0\x00\x02\x01\x00\x50\r\n"
    assert layer.seal(b"") == b""


def test_the_request_for_datagrams_leaves_with_the_first() -> None:
    layer = packets()
    first = layer.seal_packet(b"query", "2001:db8::1", 53)
    request = KEY + b"\r\n\x03\x01\xc0\x00\x02\x01\x00\x35\r\n"
    second = datagram(Packet(b"query", "2001:db8::1", 53))
    assert first == request + second
    assert layer.seal_packet(memoryview(b"query"), "2001:db8::1", 53) == second


def test_a_host_that_cannot_be_written() -> None:
    for make in (TrojanStream, TrojanPackets):
        with pytest.raises(LocalProtocolError, match="256"):
            make(KEY, "x" * 256, 1)
    with pytest.raises(LocalProtocolError):
        packets().seal_packet(b"", "", 1)


def test_a_datagram_that_servers_hang_up_for() -> None:
    layer = packets()
    with pytest.raises(LocalProtocolError) as caught:
        layer.seal_packet(bytes(MAX_SENT_BYTES + 1), "192.0.2.1", 1)
    assert caught.value.cause == "trojan-datagram-too-long"
    assert len(layer.seal_packet(bytes(MAX_SENT_BYTES), "192.0.2.1", 1)) > MAX_SENT_BYTES


@given(st.lists(datagrams, max_size=5), st.lists(st.integers(0, 2000), max_size=6))
def test_however_they_arrive(sent: list[Packet], cuts: list[int]) -> None:
    wire = b"".join(map(datagram, sent))
    layer = packets()
    got: list[Packet] = []
    edges = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})
    for start, end in itertools.pairwise(edges):
        got += layer.feed_packets(memoryview(wire)[start:end])
    layer.feed_eof()
    expected = [Packet(p.data, *_as_parsed(p.host, p.port)) for p in sent]
    assert got == expected


def _as_parsed(host: str, port: int) -> tuple[str, int]:
    found = parse_socks_address(encode_socks_address(host, port))
    assert found is not None
    return found[0], found[1]


def test_byte_by_byte() -> None:
    sent = [Packet(b"one", "192.0.2.1", 1), Packet(b"", "a.test", 2), Packet(b"x" * 500, "::1", 3)]
    layer = packets()
    wire = b"".join(map(datagram, sent))
    assert [p for byte in wire for p in layer.feed_packets(bytes((byte,)))] == sent


@pytest.mark.parametrize("size", [0, 1, 65535])
def test_what_is_given_out_is_ours_no_more(size: int) -> None:
    layer = packets()
    wire = bytearray(datagram(Packet(b"x" * size, "192.0.2.1", 9)))
    (whole,) = layer.feed_packets(wire)
    layer.feed_packets(wire[:5])
    (pieced,) = layer.feed_packets(wire[5:])
    wire[:] = bytes(len(wire))
    layer.feed_packets(b"\x01")
    assert whole == pieced == Packet(b"x" * size, "192.0.2.1", 9)


def test_every_truncation_is_told() -> None:
    wire = datagram(Packet(b"answer", "192.0.2.1", 53))
    for size in range(1, len(wire)):
        layer = packets()
        assert layer.feed_packets(wire[:size]) == []
        with pytest.raises(RemoteProtocolError) as caught:
            layer.feed_eof()
        assert caught.value.cause == "trojan-truncated"


@pytest.mark.parametrize(
    ("wire", "cause"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "bad-address"),
        (b"\x01\x00\x00\x00\x00\x00\x00\x00\x03\n\rabc", "trojan-bad-datagram"),
        (b"\x03\x01\xff\x00\x00\x00\x03\r\nabc", "bad-address"),
    ],
)
def test_a_server_that_sends_something_else(wire: bytes, cause: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        packets().feed_packets(wire)
    assert caught.value.cause == cause


@given(st.lists(st.binary(max_size=400), max_size=8))
def test_arbitrary_bytes(chunks: list[bytes]) -> None:
    layer = packets()
    try:
        for chunk in chunks:
            for packet in layer.feed_packets(chunk):
                assert len(packet.data) <= 65535
        layer.feed_eof()
    except ProtocolError:
        pass
    assert len(layer._held) <= ENOUGH
