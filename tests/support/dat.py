"""Small geosite.dat and geoip.dat files, as v2ray's messages are written."""

from __future__ import annotations

from ipaddress import ip_network

KEYWORD, REGEX, SUFFIX, FULL = range(4)


def varint(value: int) -> bytes:
    """A number in groups of seven bits."""
    groups = []
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def field(number: int, payload: bytes) -> bytes:
    """A field with its length in front."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def number(place: int, value: int) -> bytes:
    """A numeric field."""
    return varint(place << 3) + varint(value)


def domain(kind: int, value: str, *attributes: str) -> bytes:
    """An item of a list of names."""
    marks = b"".join(
        field(3, field(1, attribute.encode()) + number(2, 1)) for attribute in attributes
    )
    return field(2, (number(1, kind) if kind else b"") + field(2, value.encode()) + marks)


def cidr(text: str) -> bytes:
    """An item of a list of addresses."""
    network = ip_network(text)
    return raw_cidr(network.network_address.packed, network.prefixlen)


def raw_cidr(ip: bytes, length: int) -> bytes:
    """An item of a list of addresses that need not make sense."""
    return field(2, field(1, ip) + number(2, length))


def entry(name: str, *items: bytes) -> bytes:
    """A list."""
    return field(1, field(1, name.encode()) + b"".join(items))
