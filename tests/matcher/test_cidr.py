"""CIDR parsing: what is accepted, what is refused, and that the families never mix."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mihomo_tproxy.matcher.cidr import (
    EVERYTHING,
    Prefix,
    contains,
    masked,
    parse_cidr,
    parse_ranges,
)
from mihomo_tproxy.matcher.cidr_set import CidrSet
from mihomo_tproxy.model.address import V4_MAPPED, address_key


def holds(prefixes: tuple[Prefix, ...], address: str) -> bool:
    key = address_key(address)
    return any(prefix.key <= key <= prefix.last for prefix in prefixes)


def test_v4_is_mapped_and_host_bits_are_cleared() -> None:
    assert parse_cidr("10.1.2.3/8") == (Prefix(address_key("10.0.0.0"), 104),)


def test_v6() -> None:
    assert parse_cidr("2001:db8::1/32") == (Prefix(address_key("2001:db8::"), 32),)


def test_bare_address_stands_for_itself() -> None:
    assert parse_cidr("192.0.2.1", bare=True) == (Prefix(address_key("192.0.2.1"), 128),)
    with pytest.raises(ValueError, match="needs its length"):
        parse_cidr("192.0.2.1")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/8",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/08",
        "10.0.0.0/8/8",
        "10.0.0/8",
        "010.0.0.0/8",
        "10.0.0.0/٣",
        "::/129",
        "fe80::1%eth0/64",
        "example.com/24",
        "1.2.3.4 /32",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a CIDR"):
        parse_cidr(text)


def test_mapped_notation_is_refused() -> None:
    with pytest.raises(ValueError, match="write it as IPv4"):
        parse_cidr("::ffff:1.2.3.0/120")


@pytest.mark.parametrize("text", ["::/0", "::/80", "::/64", "::fffe:0:0/95"])
def test_short_v6_prefix_leaves_v4_out(text: str) -> None:
    prefixes = parse_cidr(text)
    network = ipaddress.IPv6Network(text)
    assert not holds(prefixes, "0.0.0.0")
    assert not holds(prefixes, "255.255.255.255")
    covered = sum(1 << (128 - prefix.length) for prefix in prefixes)
    assert covered == network.num_addresses - (1 << 32)
    edges = [network[0], network[-1], ipaddress.IPv6Address(V4_MAPPED - 1)]
    for edge in [*edges, ipaddress.IPv6Address(V4_MAPPED + (1 << 32))]:
        mapped = edge.ipv4_mapped is not None
        assert holds(prefixes, str(edge)) == (edge in network and not mapped)


@settings(deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.integers(0, 32), st.integers(0, 2**32 - 1))
def test_v4_agrees_with_ipaddress(base: int, length: int, probe: int) -> None:
    text = f"{ipaddress.IPv4Address(base)}/{length}"
    address = ipaddress.IPv4Address(probe)
    expected = address in ipaddress.IPv4Network(text, strict=False)
    assert holds(parse_cidr(text), str(address)) == expected


@settings(deadline=None, derandomize=True)
@given(st.integers(0, 2**128 - 1), st.integers(0, 128), st.integers(0, 128))
def test_contains_is_nesting(key: int, one: int, two: int) -> None:
    outer, inner = masked(key, min(one, two)), masked(key, max(one, two))
    assert contains(outer, inner)
    assert contains(EVERYTHING, inner)
    assert contains(inner, outer) == (inner == outer)


@pytest.mark.parametrize(
    "text",
    [
        *("10.1.2.3/8", "0.0.0.0/0", "192.0.2.1/32", "2001:db8::1/32", "::1/128", "::/0", "::/1"),
        *("::/79", "::/80", "::/81", "::fffe:0:0/95", "::fffc:0:0/94", "8000::/1"),
    ],
)
def test_ranges_are_the_same_keys(text: str) -> None:
    prefixes = CidrSet(parse_cidr(text))
    assert tuple(prefixes.ranges()) == parse_ranges(text)


def test_ranges_of_no_cidr() -> None:
    for text in ("192.0.2.1", "::ffff:192.0.2.0/120", "x/8"):
        with pytest.raises(ValueError, match=r"not a CIDR|never matches"):
            parse_ranges(text)
