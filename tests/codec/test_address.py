"""Addresses on the wire."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mihomo_tproxy.codec.address import (
    encode_port_address,
    encode_socks_address,
    parse_port_address,
    parse_socks_address,
)
from mihomo_tproxy.errors import LocalProtocolError, ProtocolError, RemoteProtocolError

FORMS = [
    (encode_socks_address, parse_socks_address),
    (encode_port_address, parse_port_address),
]


@pytest.mark.parametrize(
    ("host", "socks", "port_first"),
    [
        ("192.0.2.7", "01c0000207 0050", "0050 01c0000207"),
        ("2001:db8::1", "0420010db8" + "00" * 11 + "010050", "00500320010db8" + "00" * 11 + "01"),
        ("example.com", "030b6578616d706c652e636f6d0050", "0050020b6578616d706c652e636f6d"),
        ("4.4.4.4.4", "0309342e342e342e342e340050", "00500209342e342e342e342e34"),
    ],
)
def test_as_written(host: str, socks: str, port_first: str) -> None:
    assert encode_socks_address(host, 80) == bytes.fromhex(socks)
    assert encode_port_address(host, 80) == bytes.fromhex(port_first)


@pytest.mark.parametrize(("encode", "parse"), FORMS)
@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::1", "example.com", "x" * 255])
def test_back_and_forth_and_every_truncation(encode, parse, host: str) -> None:
    data = encode(host, 65535)
    assert parse(b"ab" + data + b"tail", 2) == (host, 65535, 2 + len(data))
    for size in range(len(data)):
        assert parse(data[:size]) is None


@pytest.mark.parametrize(("encode", "parse"), FORMS)
def test_a_mapped_address_is_an_ipv4_one(encode, parse) -> None:
    assert parse(encode("::ffff:192.0.2.7", 80))[:2] == ("192.0.2.7", 80)


@pytest.mark.parametrize("encode", [encode_socks_address, encode_port_address])
@pytest.mark.parametrize("host", ["", "x" * 256, "bücher.example", "a\x000", "a b", "a:b", "\n"])
def test_what_cannot_be_written(encode, host: str) -> None:
    with pytest.raises(LocalProtocolError):
        encode(host, 1)


@pytest.mark.parametrize(
    ("parse", "data"),
    [
        (parse_socks_address, b"\x02abcdefgh"),
        (parse_socks_address, b"\x03\x00\x00\x50"),
        (parse_socks_address, b"\x03\x01\xff\x00\x50"),
        (parse_socks_address, b"\x03\x03a\x000\x00\x50"),
        (parse_socks_address, b"\x03\x03a b\x00\x50"),
        (parse_socks_address, b"\x03\x03a:b\x00\x50"),
        (parse_port_address, b"\x00\x50\x02\x02a\n"),
        (parse_port_address, b"\x00\x50\x04abcd"),
        (parse_port_address, b"\x00\x50\x02\x00"),
    ],
)
def test_what_is_no_address(parse, data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parse(data)


@given(st.binary(max_size=300), st.integers(0, 20))
def test_arbitrary_bytes(data: bytes, start: int) -> None:
    for _, parse in FORMS:
        try:
            found = parse(data, start)
        except ProtocolError:
            continue
        assert found is None or found[2] <= len(data)


def test_an_ipv6_literal_in_the_place_of_a_name() -> None:
    assert parse_socks_address(b"\x03\x03::1\x00\x50") == ("::1", 80, 7)
    assert encode_socks_address("::1", 80)[0] == 4
