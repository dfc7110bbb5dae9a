"""IP-SUFFIX rules, as observed with mihomo 1.19.32."""

from __future__ import annotations

import pytest
from support.flows import metadata, request

from mihomo_tproxy.errors import NeedsAddress
from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.registry import parse_rule


@pytest.mark.parametrize(
    ("payload", "inside", "outside"),
    [
        ("0.0.8.8/12", ["1.2.8.8", "1.2.24.8"], ["1.2.3.8"]),
        ("1.2.3.4/32", ["1.2.3.4"], ["1.2.3.5", "0.2.3.4"]),
        ("1.2.3.4/0", ["8.8.8.8"], ["2001::1"]),
        ("1.2.3.4/1", ["9.9.9.2"], ["9.9.9.3"]),
        ("::1/64", ["2001:db8::1"], ["2001:db8::2", "0.0.0.1"]),
        ("::ffff:1.2.3.4/8", ["2001::4", "2001::304"], ["9.9.9.4"]),
    ],
)
def test_match(payload: str, inside: list[str], outside: list[str]) -> None:
    rule = parse_rule(f"IP-SUFFIX,{payload},out")
    assert (rule.fields, rule.resolves) == (fields.DST_ADDR, True)
    assert all(rule.match(metadata(address)) for address in inside)
    assert not any(rule.match(metadata(address)) for address in outside)


@pytest.mark.parametrize("line", ["SRC-IP-SUFFIX,0.0.0.1/8,out", "IP-SUFFIX,0.0.0.1/8,out,src"])
def test_source(line: str) -> None:
    rule = parse_rule(line)
    assert (rule.fields, rule.resolves) == (fields.SRC_ADDR, False)
    assert rule.match(metadata("8.8.8.8", source="10.0.0.1"))
    assert not rule.match(metadata("10.0.0.1", source="8.8.8.8"))


def test_names() -> None:
    flow = request(host="example.com")
    assert not parse_rule("IP-SUFFIX,0.0.0.1/8,out,no-resolve").match(flow)
    with pytest.raises(NeedsAddress):
        parse_rule("IP-SUFFIX,0.0.0.1/8,out").match(flow)


@pytest.mark.parametrize(
    "payload", ["8.8.8.8", "8.8.8.8/33", "::1/129", "::1%eth0/64", "x/8", "/8"]
)
def test_refused(payload: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        parse_rule(f"IP-SUFFIX,{payload},out")
