"""VMess as layers: against recorded servers, and against the server's side written apart."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.vmess_peers import BODIES, NONE, NOW, RECORDED, USER, profile
from support.vmess_server import Body, open_request, response_header

from mihomo_tproxy.codec.address import encode_port_address
from mihomo_tproxy.codec.layer import Packet
from mihomo_tproxy.codec.packet_addr import MAGIC_HOST, MAGIC_PORT, encode_packet_address
from mihomo_tproxy.codec.vmess.body import MAX_PACKET_PAYLOAD
from mihomo_tproxy.codec.vmess.header import Command, Security
from mihomo_tproxy.codec.vmess.layer import VmessLayer, VmessPacketAddrLayer, VmessPacketLayer
from mihomo_tproxy.errors import LocalProtocolError, ProtocolError, RemoteProtocolError

bodies = pytest.mark.parametrize("body", BODIES)
Kind = tuple[Security, bool, bool]
ANSWER = b"first answerand a second one"


def recorded_layer(recorded: dict[str, Any]) -> VmessLayer:
    body = (
        Security(recorded["security"]),
        recorded["global_padding"],
        recorded["authenticated_length"],
    )
    layer = VmessLayer(profile(body, bytes.fromhex(recorded["random"])), "127.0.0.1", 80)
    layer.begin()
    layer.seal(b"ping")
    return layer


@pytest.mark.parametrize("recorded", RECORDED["responses"])
def test_answers_of_real_servers(recorded: dict[str, Any]) -> None:
    wire = bytes.fromhex(recorded["wire"])
    layer = recorded_layer(recorded)
    assert layer.feed(wire) == ANSWER
    layer.feed_eof()
    assert layer.ended == recorded["ended"]
    trickled = recorded_layer(recorded)
    assert b"".join(bytes(trickled.feed(bytes((byte,)))) for byte in wire) == ANSWER
    for cut in range(len(wire)):
        layer = recorded_layer(recorded)
        start = bytes(layer.feed(wire[:cut]))
        assert start + bytes(layer.feed(wire[cut:])) == ANSWER


def test_the_header_and_the_first_payload_leave_together() -> None:
    layer = VmessLayer(profile(), "example.com", 443)
    layer.begin()
    assert layer.ready
    assert layer.output == b""
    wire = bytes(layer.seal(b"hello"))
    request = open_request(USER, wire)
    assert request.time == NOW
    assert request.command == Command.TCP
    assert request.address == encode_port_address("example.com", 443)
    body = Body(request)
    assert body.open(wire[request.size :]) == [b"hello"]
    assert body.open(bytes(layer.seal(b"more"))) == [b"more"]
    assert body.open(bytes(layer.finish())) == [b""]


def test_the_header_alone() -> None:
    layer = VmessLayer(profile(), "192.0.2.1", 443)
    wire = bytes(layer.seal(b""))
    assert open_request(USER, wire).size == len(wire)
    assert layer.seal(b"") == b""
    layer = VmessLayer(profile(), "192.0.2.1", 443)
    wire = bytes(layer.finish())
    request = open_request(USER, wire)
    assert Body(request).open(wire[request.size :]) == [b""]


@bodies
def test_both_ways(body: Kind) -> None:
    layer = VmessLayer(profile(body), "2001:db8::1", 443)
    wire = bytes(layer.seal(b"hello"))
    request = open_request(USER, wire)
    answer = Body(request, is_response=True)
    plain = body[0] is NONE
    assert wire[request.size :] == b"hello" if plain else True
    assert layer.feed(response_header(request)) == b""
    assert layer.transparent == plain
    if plain:
        assert layer.feed(b"answer") == b"answer"
        assert layer.seal(b"more") == b"more"
        assert layer.finish() == b""
    else:
        assert layer.feed(answer.seal(b"answer")) == b"answer"
        assert layer.feed(answer.seal(b"")) == b""
    assert layer.ended != plain
    layer.feed_eof()


def test_no_encryption_and_payload_behind_the_response() -> None:
    layer = VmessLayer(profile((NONE, True, True)), "192.0.2.1", 443)
    request = open_request(USER, bytes(layer.seal(b"")))
    assert request.option == 0
    assert layer.feed(response_header(request) + b"answer") == b"answer"
    assert layer.transparent


def test_no_answer() -> None:
    layer = VmessLayer(profile(), "192.0.2.1", 443)
    request = open_request(USER, bytes(layer.seal(b"hello")))
    layer.feed(response_header(request)[:-1])
    with pytest.raises(RemoteProtocolError) as caught:
        layer.feed_eof()
    assert caught.value.cause == "vmess-no-answer"


def test_an_upload_may_have_no_answer() -> None:
    layer = VmessLayer(profile(), "192.0.2.1", 443)
    layer.seal(b"upload")
    layer.finish()
    layer.feed_eof()
    assert not layer.ended


def test_an_end_within_a_chunk() -> None:
    layer = VmessLayer(profile(), "192.0.2.1", 443)
    request = open_request(USER, bytes(layer.seal(b"hello")))
    layer.feed(response_header(request) + Body(request, is_response=True).seal(b"answer")[:-1])
    with pytest.raises(RemoteProtocolError) as caught:
        layer.feed_eof()
    assert caught.value.cause == "vmess-cut-short"


def test_mux_has_no_address() -> None:
    layer = VmessLayer(profile(), "", 0)
    request = open_request(USER, bytes(layer.seal(b"frames")))
    assert (request.command, request.address) == (Command.MUX, b"")


def test_a_host_that_cannot_be_written() -> None:
    with pytest.raises(LocalProtocolError):
        VmessLayer(profile(), "x" * 256, 1)


@bodies
def test_datagrams(body: Kind) -> None:
    layer = VmessPacketLayer(profile(body), "192.0.2.1", 53)
    wire = bytes(layer.seal_packet(b"query", "192.0.2.1", 53))
    request = open_request(USER, wire)
    assert request.command == Command.UDP
    assert request.address == encode_port_address("192.0.2.1", 53)
    up, down = Body(request), Body(request, is_response=True)
    assert up.open(wire[request.size :]) == [b"query"]
    assert up.open(bytes(layer.seal_packet(b"again", "192.0.2.1", 53))) == [b"again"]
    replies = [b"one", b"t" * 1400, b"three"]
    data = response_header(request) + b"".join(down.seal(reply) for reply in replies)
    cut = len(data) - 5
    got = layer.feed_packets(data[:cut])
    assert [bytes(packet.data) for packet in got] == replies[:2]
    assert {packet[1:] for packet in got} == {("192.0.2.1", 53)}
    assert layer.feed_packets(data[cut:]) == [Packet(b"three", "192.0.2.1", 53)]
    assert layer.feed_packets(down.seal(b"")) == []
    assert layer.ended
    layer.feed_eof()


@pytest.mark.parametrize(
    ("size", "host", "port", "cause"),
    [
        (0, "192.0.2.1", 53, "datagram-empty"),
        (MAX_PACKET_PAYLOAD + 1, "192.0.2.1", 53, "datagram-too-long"),
        (1, "192.0.2.2", 53, "vmess-other-remote"),
        (1, "192.0.2.1", 54, "vmess-other-remote"),
    ],
)
def test_datagrams_that_cannot_be_sent(size: int, host: str, port: int, cause: str) -> None:
    layer = VmessPacketLayer(profile(), "192.0.2.1", 53)
    with pytest.raises(LocalProtocolError) as caught:
        layer.seal_packet(bytes(size), host, port)
    assert caught.value.cause == cause
    wire = bytes(layer.seal_packet(b"x", "192.0.2.1", 53))
    request = open_request(USER, wire)
    assert Body(request).open(wire[request.size :]) == [b"x"]


@bodies
def test_datagrams_with_addresses(body: Kind) -> None:
    layer = VmessPacketAddrLayer(profile(body))
    wire = bytes(layer.seal_packet(b"one", "192.0.2.1", 53))
    request = open_request(USER, wire)
    assert request.address == encode_port_address(MAGIC_HOST, MAGIC_PORT)
    up, down = Body(request), Body(request, is_response=True)
    assert up.open(wire[request.size :]) == [encode_packet_address("192.0.2.1", 53) + b"one"]
    second = up.open(bytes(layer.seal_packet(memoryview(b""), "2001:db8::1", 54)))
    assert second == [encode_packet_address("2001:db8::1", 54)]
    reply = encode_packet_address("198.51.100.1", 9) + b"reply"
    got = layer.feed_packets(response_header(request) + down.seal(reply) + down.seal(reply))
    assert got == [Packet(b"reply", "198.51.100.1", 9)] * 2
    with pytest.raises(RemoteProtocolError):
        layer.feed_packets(down.seal(b"no address"))


@given(st.sampled_from(BODIES), st.binary(max_size=2000), st.integers(0, 2000), st.booleans())
def test_arbitrary_bytes(body: Kind, data: bytes, cut: int, answered: bool) -> None:
    layer = VmessPacketAddrLayer(profile(body))
    request = open_request(USER, bytes(layer.seal(b"")))
    try:
        if answered:
            layer.feed(response_header(request))
        layer.feed_packets(data[:cut])
        layer.feed_packets(data[cut:])
        layer.feed_eof()
    except ProtocolError:
        pass
