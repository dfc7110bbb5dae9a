"""VLESS: a response and what follows it, as a stream and as datagrams."""

from __future__ import annotations

from mihomo_tproxy.codec.vless import (
    TCP,
    VlessLayer,
    VlessPacketAddr,
    VlessPackets,
    encode_request,
)
from mihomo_tproxy.errors import ProtocolError

REQUEST = encode_request(bytes(16), TCP, "example.com", 443)


def target(data: bytes) -> None:
    """Nothing but a ProtocolError escapes, and a cut changes nothing."""
    for side in (_stream, _datagrams, _datagrams_with_remotes):
        try:
            side(data)
        except ProtocolError:
            pass


def _stream(data: bytes) -> None:
    layer = VlessLayer(REQUEST)
    layer.begin()
    assert layer.seal(b"x") == REQUEST + b"x"
    half = len(data) // 2
    payload = bytes(layer.feed(data[:half])) + bytes(layer.feed(data[half:]))
    assert payload == (data[2 + data[1] :] if len(data) > 1 else b"")
    assert layer.transparent == (len(data) > 1 and len(data) >= 2 + data[1])
    layer.feed_eof()


def _datagrams(data: bytes) -> None:
    layer = VlessPackets("192.0.2.1", 53)
    half = len(data) // 2
    packets = layer.feed_packets(data[:half]) + layer.feed_packets(data[half:])
    assert packets == VlessPackets("192.0.2.1", 53).feed_packets(data)
    layer.feed_eof()
    assert b"".join(layer.seal_packet(p.data, "192.0.2.1", 53) for p in packets) == data


def _datagrams_with_remotes(data: bytes) -> None:
    layer = VlessPacketAddr()
    half = len(data) // 2
    packets = layer.feed_packets(data[:half]) + layer.feed_packets(data[half:])
    assert packets == VlessPacketAddr().feed_packets(data)
    layer.feed_eof()
