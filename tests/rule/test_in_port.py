"""IN-PORT rules."""

from __future__ import annotations

import pytest
from support.flows import metadata, request

from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.port import Port
from mihomo_tproxy.rule.registry import parse_rule


def test_the_listeners_port() -> None:
    rule, flow = parse_rule("IN-PORT,7890-7891,out"), request("192.0.2.1", 7890)
    assert rule.fields == fields.INBOUND
    assert not isinstance(rule, Port)  # the engine takes those into its index of the flow's ports
    assert not rule.match(flow)
    flow.inbound_port = 7891
    assert rule.match(flow)
    assert not rule.match(metadata(port=7890))


def test_refused() -> None:
    with pytest.raises(ValueError, match="not a port or range: 'x'"):
        parse_rule("IN-PORT,x,out")
