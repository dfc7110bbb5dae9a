"""IP-CIDR rules: either family by either kind, the source by `src`, unknown by none."""

from __future__ import annotations

import pytest
from support.flows import metadata, request

from mihomo_tproxy.errors import NeedsAddress
from mihomo_tproxy.rule.registry import parse_rule


@pytest.mark.parametrize(
    ("line", "address", "matches"),
    [
        ("IP-CIDR,10.0.0.0/8,out", "10.255.0.1", True),
        ("IP-CIDR,10.0.0.9/8,out", "10.255.0.1", True),
        ("IP-CIDR,10.0.0.0/8,out", "11.0.0.1", False),
        ("IP-CIDR,10.0.0.0/8,out", "::ffff:10.0.0.1", True),
        ("IP-CIDR6,10.0.0.0/8,out", "10.0.0.1", True),
        ("IP-CIDR,2001:db8::/32,out", "2001:db8::1", True),
        ("IP-CIDR6,2001:db8::/32,out", "2001:db9::1", False),
        ("IP-CIDR6,::/0,out", "10.0.0.1", False),
        ("IP-CIDR,0.0.0.0/0,out", "2001:db8::1", False),
        ("IP-CIDR,0.0.0.0/0,out,no-resolve", "", False),
    ],
)
def test_destination(line: str, address: str, matches: bool) -> None:
    assert parse_rule(line).match(metadata(address, host="example.com")) is matches


def test_a_name_is_resolved_once() -> None:
    rule, flow = parse_rule("IP-CIDR,10.0.0.0/8,out"), request(host="example.com")
    with pytest.raises(NeedsAddress, match=r"example\.com"):
        rule.match(flow)
    flow.resolved = "10.0.0.1"
    assert rule.match(flow)
    assert flow.destination == "10.0.0.1"


def test_a_name_without_an_address_is_in_no_range() -> None:
    flow = request(host="example.com")
    flow.resolved = ""
    assert not parse_rule("IP-CIDR,0.0.0.0/0,out").match(flow)


@pytest.mark.parametrize("line", ["SRC-IP-CIDR,10.0.0.0/8,out", "IP-CIDR,10.0.0.0/8,out,src"])
def test_source(line: str) -> None:
    rule = parse_rule(line)
    assert rule.match(metadata("192.0.2.1", source="10.0.0.1"))
    assert not rule.match(metadata("10.0.0.1", source="192.0.2.1"))
