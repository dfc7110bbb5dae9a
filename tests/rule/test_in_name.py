"""IN-NAME rules."""

from __future__ import annotations

import pytest
from support.flows import metadata, request

from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.registry import parse_rule


def test_match() -> None:
    rule, flow = parse_rule("IN-NAME,a / b,out"), request("192.0.2.1")
    assert rule.fields == fields.INBOUND
    matched = []
    for flow.inbound_name in ("a", "b", "A", "", "a / b"):
        if rule.match(flow):
            matched.append(flow.inbound_name)
    assert matched == ["a", "b"]
    assert not rule.match(metadata())


@pytest.mark.parametrize("payload", ["a//b", "/", "a/"])
def test_refused(payload: str) -> None:
    with pytest.raises(ValueError, match="an empty name"):
        parse_rule(f"IN-NAME,{payload},out")
