"""UID rules."""

from __future__ import annotations

import pytest
from support.flows import metadata, request

from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.registry import parse_rule


def test_match() -> None:
    rule, flow = parse_rule("UID,1000/2000-2001,out"), request("192.0.2.1")
    assert rule.fields == fields.UID
    assert not rule.match(flow)
    flow.uid = 2001
    assert rule.match(flow)
    flow.uid = 1001
    assert not rule.match(flow)
    assert not rule.match(metadata())


def test_never_the_superuser() -> None:
    """Observed with mihomo 1.19.32: `UID,0-1000` does not match a program of root."""
    flow = request("192.0.2.1")
    flow.uid = 0
    assert not parse_rule("UID,0-1000,out").match(flow)


@pytest.mark.parametrize("text", ["root", "-1", "4294967296"])
def test_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a user id or range"):
        parse_rule(f"UID,{text},out")
