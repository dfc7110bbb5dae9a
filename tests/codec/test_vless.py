"""VLESS.

The vectors are what sing-box 1.14.4 and mihomo 1.19.32 sent as clients (the same bytes), and what
they and v2ray 4.34 answered as servers.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.datagrams import check_every_cut, feed_in

from mihomo_tproxy.codec.layer import Packet
from mihomo_tproxy.codec.packet_addr import MAGIC_HOST, MAGIC_PORT
from mihomo_tproxy.codec.vless import (
    MAX_DATAGRAM,
    MUX,
    TCP,
    UDP,
    VlessLayer,
    VlessPacketAddr,
    VlessPackets,
    encode_request,
)
from mihomo_tproxy.errors import LocalProtocolError, ProtocolError, RemoteProtocolError

USER_ID = bytes.fromhex("b831381d63244d53ad4f8cda48b30811")
REQUEST = bytes.fromhex(
    "00b831381d63244d53ad4f8cda48b3081100010050020b6578616d706c652e636f6d474554"
)
REQUEST_MUX = bytes.fromhex("00b831381d63244d53ad4f8cda48b308110003")
REQUEST_UDP = bytes.fromhex(
    "00b831381d63244d53ad4f8cda48b308110002003501c000020100036f6e65000374776f"
)
REQUEST_PACKET_ADDR = bytes.fromhex(
    "00b831381d63244d53ad4f8cda48b30811000201bb021973702e7061636b65742d616464722e7632666c792e61727061"
    "000a01c000020100356f6e65000a01c000020201bb74776f"
)
RESPONSE = bytes.fromhex("000068656c6c6f")
WITH_ADDONS = bytes.fromhex("0003aabbcc68656c6c6f")


def stream() -> VlessLayer:
    layer = VlessLayer(encode_request(USER_ID, TCP, "example.com", 80))
    layer.begin()
    assert layer.ready
    assert layer.output == b""
    return layer


def test_request_and_first_payload_leave_together() -> None:
    layer = stream()
    assert layer.seal(memoryview(b"GET")) == REQUEST
    payload = b"more"
    assert layer.seal(payload) is payload


def test_a_request_without_payload() -> None:
    layer = stream()
    assert layer.seal(b"") == REQUEST[:-3]
    assert layer.seal(b"") == b""


def test_mux_has_no_destination() -> None:
    assert encode_request(USER_ID, MUX) == REQUEST_MUX


def test_a_host_that_cannot_be_written() -> None:
    with pytest.raises(LocalProtocolError):
        encode_request(USER_ID, TCP, "", 80)


@pytest.mark.parametrize("wire", [RESPONSE, WITH_ADDONS])
def test_the_response_is_taken_off_however_it_is_cut(wire: bytes) -> None:
    for size in range(1, len(wire) + 1):
        layer = stream()
        layer.seal(b"")
        parts = [wire[start : start + size] for start in range(0, len(wire), size)]
        assert b"".join(bytes(layer.feed(part)) for part in parts) == b"hello"
        layer.feed_eof()


def test_transparent_once_both_heads_are_through() -> None:
    layer = stream()
    layer.seal(b"")
    layer.feed(RESPONSE[:1])
    assert not layer.transparent
    layer.feed(RESPONSE[1:2])
    assert layer.transparent

    layer = stream()
    layer.feed(RESPONSE)
    assert not layer.transparent
    layer.seal(b"x")
    assert layer.transparent


def test_what_follows_the_response_is_handed_on_as_it_is() -> None:
    layer = stream()
    layer.feed(RESPONSE)
    data = b"payload"
    assert layer.feed(data) is data


@pytest.mark.parametrize("wire", ["01", "48545450", "ff00"])
def test_another_protocol(wire: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        stream().feed(bytes.fromhex(wire))
    assert caught.value.cause == "vless-bad-response"


def test_an_end_instead_of_a_response_is_a_refusal() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        stream().feed_eof()
    assert caught.value.cause == "vless-no-answer"


def test_an_end_instead_of_a_response_after_our_own_is_an_empty_answer() -> None:
    layer = stream()
    layer.seal(b"x")
    assert layer.finish() == b""
    layer.feed_eof()


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_an_end_within_the_response(size: int) -> None:
    layer = stream()
    layer.finish()
    layer.feed(WITH_ADDONS[:size])
    with pytest.raises(RemoteProtocolError) as caught:
        layer.feed_eof()
    assert caught.value.cause == "vless-cut-short"


@given(st.lists(st.binary(max_size=300), max_size=6))
def test_arbitrary_bytes(chunks: list[bytes]) -> None:
    layer = stream()
    payload = b""
    try:
        for chunk in chunks:
            payload += bytes(layer.feed(chunk))
    except ProtocolError:
        return
    wire = b"".join(chunks)
    assert payload == wire[2 + wire[1] :] if len(wire) > 1 else payload == b""


def test_datagrams_of_one_remote() -> None:
    layer = VlessPackets("192.0.2.1", 53)
    wire = encode_request(USER_ID, UDP, "192.0.2.1", 53)
    wire += layer.seal_packet(memoryview(b"one"), "192.0.2.1", 53)
    assert wire + layer.seal_packet(b"two", "192.0.2.1", 53) == REQUEST_UDP
    for other in (("192.0.2.2", 53), ("192.0.2.1", 54)):
        with pytest.raises(LocalProtocolError) as caught:
            layer.seal_packet(b"", *other)
        assert caught.value.cause == "vless-other-remote"


def test_datagrams_of_one_remote_however_they_are_cut() -> None:
    frames = [b"\0\3one", b"\0\0", b"\1\0" + bytes(256)]
    packets = [Packet(b"one", "", 0), Packet(b"", "", 0), Packet(bytes(256), "", 0)]
    check_every_cut(lambda: VlessPackets("192.0.2.1", 53), frames, packets)


def test_datagrams_with_their_remotes() -> None:
    layer = VlessPacketAddr()
    wire = encode_request(USER_ID, UDP, MAGIC_HOST, MAGIC_PORT)
    wire += layer.seal_packet(memoryview(b"one"), "192.0.2.1", 53)
    assert wire + layer.seal_packet(b"two", "192.0.2.2", 443) == REQUEST_PACKET_ADDR
    with pytest.raises(LocalProtocolError) as caught:
        layer.seal_packet(b"", "example.com", 1)
    assert caught.value.cause == "packet-addr-name"


def test_datagrams_with_their_remotes_however_they_are_cut() -> None:
    frames = [bytes.fromhex(text) for text in ("000a017f00000197016f6e65", "000701c00002010035")]
    packets = [Packet(b"one", "127.0.0.1", 0x9701), Packet(b"", "192.0.2.1", 53)]
    check_every_cut(VlessPacketAddr, frames, packets)


def test_a_datagram_without_its_remote() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        VlessPacketAddr().feed_packets(b"\0\3one")
    assert caught.value.cause == "packet-addr-bad-address"


@pytest.mark.parametrize("layer", [VlessPackets("192.0.2.1", 53), VlessPacketAddr()])
def test_the_longest_datagram(layer: VlessPackets | VlessPacketAddr) -> None:
    assert layer.seal_packet(bytes(MAX_DATAGRAM), "192.0.2.1", 53).endswith(bytes(MAX_DATAGRAM))
    with pytest.raises(LocalProtocolError) as caught:
        layer.seal_packet(bytes(MAX_DATAGRAM + 1), "192.0.2.1", 53)
    assert caught.value.cause == "datagram-too-long"


@given(st.lists(st.tuples(st.binary(max_size=200), st.integers(0, 65535))), st.integers(1, 300))
def test_back_and_forth(sent: list[tuple[bytes, int]], size: int) -> None:
    layer = VlessPacketAddr()
    wire = b"".join(bytes(layer.seal_packet(data, "2001:db8::1", port)) for data, port in sent)
    got = feed_in(VlessPacketAddr, wire, size)
    assert got == [(data, "2001:db8::1", port) for data, port in sent]
