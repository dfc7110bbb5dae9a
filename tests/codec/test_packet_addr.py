"""packet-addr: the heads are those that sing-box 1.14.4 and mihomo 1.19.32 wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mihomo_tproxy.codec.layer import Packet
from mihomo_tproxy.codec.packet_addr import encode_packet_address, parse_packet
from mihomo_tproxy.errors import LocalProtocolError, ProtocolError, RemoteProtocolError

IPV6 = "02 20010db8 00000000 00000000 00000002 1f90"


@pytest.mark.parametrize(
    ("host", "port", "wire"),
    [("192.0.2.1", 53, "01c00002010035"), ("2001:db8::2", 8080, IPV6)],
)
def test_as_written(host: str, port: int, wire: str) -> None:
    head = bytes.fromhex(wire)
    assert encode_packet_address(host, port) == head
    assert parse_packet(head + b"data") == Packet(b"data", host, port)
    assert parse_packet(memoryview(head)) == Packet(b"", host, port)
    for size in range(len(head)):
        with pytest.raises(RemoteProtocolError, match=rf"{size} bytes"):
            parse_packet(head[:size])


def test_a_scope_is_not_for_others() -> None:
    assert encode_packet_address("fe80::1%eth0", 1) == encode_packet_address("fe80::1", 1)


def test_a_mapped_address_is_an_ipv4_one() -> None:
    head = encode_packet_address("::ffff:192.0.2.7", 53)
    assert parse_packet(head) == Packet(b"", "192.0.2.7", 53)


@pytest.mark.parametrize("host", ["example.com", "", "1.2.3", "::g"])
def test_names_cannot_be_written(host: str) -> None:
    with pytest.raises(LocalProtocolError):
        encode_packet_address(host, 1)


@given(st.binary(max_size=40))
def test_arbitrary_bytes(data: bytes) -> None:
    try:
        packet = parse_packet(data)
    except ProtocolError:
        return
    assert data.endswith(packet.data)
