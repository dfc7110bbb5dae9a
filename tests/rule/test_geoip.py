"""GEOIP rules; what LAN holds was observed with mihomo 1.19.32."""

from __future__ import annotations

import pytest
from support.flows import Lists, metadata

from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.registry import parse_rule

LAN = [
    "10.1.1.1",
    "172.16.3.3",
    "192.168.1.1",
    "127.0.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "239.1.1.1",
    "169.254.1.1",
    "fc00::1",
    "fd00::1",
    "fe80::1",
    "febf::1",
    "ff02::1",
    "::1",
    "::",
]
NOT_LAN = [
    "0.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
    "100.64.0.1",
    "198.18.0.1",
    "2001:db8::1",
    "172.32.0.1",
]


def test_lan() -> None:
    for line in ("GEOIP,LAN,out", "geoip,lan,out,no-resolve"):
        rule = parse_rule(line)
        assert [address for address in LAN + NOT_LAN if rule.match(metadata(address))] == LAN


def test_country() -> None:
    rule = parse_rule("GEOIP,CN,out", Lists())
    assert (rule.fields, rule.resolves) == (fields.DST_ADDR, True)
    assert rule.match(metadata("192.0.2.1"))
    assert not rule.match(metadata("192.0.3.1"))
    assert not parse_rule("GEOIP,CN,out,no-resolve", Lists()).resolves


@pytest.mark.parametrize("line", ["SRC-GEOIP,CN,out", "GEOIP,CN,out,src"])
def test_source(line: str) -> None:
    rule = parse_rule(line, Lists())
    assert (rule.fields, rule.resolves) == (fields.SRC_ADDR, False)
    assert rule.match(metadata("10.0.0.1", source="192.0.2.1"))
