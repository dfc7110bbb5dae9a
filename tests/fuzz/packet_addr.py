"""packet-addr: a datagram with its sender."""

from __future__ import annotations

from mihomo_tproxy.codec.packet_addr import encode_packet_address, parse_packet
from mihomo_tproxy.errors import ProtocolError


def target(data: bytes) -> None:
    """Nothing but a ProtocolError escapes; what is understood can be said again."""
    try:
        packet = parse_packet(data)
    except ProtocolError:
        return
    again = encode_packet_address(packet.host, packet.port)
    assert parse_packet(again + bytes(packet.data)) == packet
