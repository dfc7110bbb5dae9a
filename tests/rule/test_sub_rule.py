"""SUB-RULE rules."""

from __future__ import annotations

import pytest
from support.flows import Lists, metadata

from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.registry import parse_rule

INNER = (parse_rule("DST-PORT,443,first"), parse_rule("DOMAIN,a.example,second"))
LISTS = Lists(
    lists={
        "inner": INNER,
        "outer": (
            parse_rule("SUB-RULE,(NETWORK,tcp),inner", Lists(lists={"inner": INNER})),
            parse_rule("MATCH,last"),
        ),
    }
)


def test_decides_by_the_list() -> None:
    rule = parse_rule("SUB-RULE,(SRC-IP-CIDR,10.0.0.0/8),inner", LISTS)
    assert rule.target == "inner"
    assert rule.targets() == ("first", "second")
    assert rule.fields == fields.SRC_ADDR | fields.DST_PORT | fields.DOMAIN
    assert rule.decide(metadata(host="a.example")) == "first"
    assert rule.decide(metadata(host="a.example", port=80)) == "second"
    assert rule.decide(metadata(port=80)) == ""
    assert not rule.match(metadata(port=80))
    assert rule.decide(metadata(source="192.0.2.1")) == ""


def test_lists_inside_lists() -> None:
    rule = parse_rule("SUB-RULE,(OR,((NETWORK,tcp),(NETWORK,udp))),outer", LISTS)
    assert rule.targets() == ("first", "second", "last")
    assert rule.decide(metadata(port=443)) == "first"
    assert rule.decide(metadata(port=80)) == "last"


@pytest.mark.parametrize(
    "payload", ["NETWORK,tcp", "(NETWORK,tcp),(DST-PORT,80)", "((NETWORK,tcp))"]
)
def test_refused(payload: str) -> None:
    with pytest.raises(ValueError, match=r"not a list|one condition|unknown rule kind"):
        parse_rule(f"SUB-RULE,{payload},inner", LISTS)


def test_pass_rule_goes_on_in_the_list() -> None:
    rules = tuple(parse_rule(line) for line in ("DOMAIN,a.example,PASS-RULE", "DST-PORT,443,x"))
    rule = parse_rule("SUB-RULE,(NETWORK,tcp),list", Lists(lists={"list": rules}))
    assert rule.targets() == ("x",)
    assert rule.decide(metadata(host="a.example")) == "x"
    assert rule.decide(metadata(host="a.example", port=80)) == ""
