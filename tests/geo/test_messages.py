"""The messages of v2ray's files."""

from __future__ import annotations

import pytest
from support.dat import SUFFIX, cidr, domain, entry

from mihomo_tproxy.geo.messages import parse_cidrs, parse_domains


def inner(content):
    return content[2:]


def test_domains():
    [found] = parse_domains(inner(entry("x", domain(SUFFIX, "example.com", "ads", "cn"))))
    assert (found.type, found.value) == (SUFFIX, b"example.com")
    assert [mark.key for mark in found.attributes] == [b"ads", b"cn"]


def test_cidrs():
    [found] = parse_cidrs(inner(entry("x", cidr("10.0.0.0/8"))))
    assert (found.ip, found.prefix) == (b"\x0a\0\0\0", 8)


@pytest.mark.parametrize("parse", [parse_cidrs, parse_domains])
def test_garbage(parse):
    with pytest.raises(ValueError, match="cannot be parsed"):
        parse(b"\x12\x7f")
