"""DSCP rules."""

from __future__ import annotations

import pytest
from support.flows import metadata, request

from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.registry import parse_rule


def test_match() -> None:
    rule, flow = parse_rule("DSCP,4/8-10,out"), request("192.0.2.1")
    assert rule.fields == fields.DSCP
    matched = []
    for flow.dscp in range(64):
        if rule.match(flow):
            matched.append(flow.dscp)
    assert matched == [4, 8, 9, 10]


def test_a_flow_nobody_looked_at_has_0() -> None:
    assert parse_rule("DSCP,0,out").match(metadata())


@pytest.mark.parametrize("text", ["64", "300", "-1", "x"])
def test_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a DSCP or range"):
        parse_rule(f"DSCP,{text},out")
