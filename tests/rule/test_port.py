"""Port rules: lists and ranges as mihomo reads them."""

from __future__ import annotations

from support.flows import metadata

from mihomo_tproxy.model import fields
from mihomo_tproxy.model.enums import InboundType, Network
from mihomo_tproxy.model.metadata import RequestMetadata
from mihomo_tproxy.rule.registry import parse_rule


def test_match() -> None:
    destination, source = parse_rule("DST-PORT,80/90-99,out"), parse_rule("SRC-PORT,5,out")
    assert [port for port in range(70, 110) if destination.match(metadata(port=port))] == [
        80,
        *range(90, 100),
    ]
    assert source.match(metadata(port=80, source_port=5))
    assert not source.match(metadata(port=5, source_port=80))


def test_the_listeners_port() -> None:
    flow = RequestMetadata(Network.TCP, InboundType.SOCKS5, "10.0.0.1", 7890, "192.0.2.1", 7890)
    rule = parse_rule("IN-PORT,7890-7891,out")
    assert rule.fields == fields.INBOUND
    assert not rule.match(flow)
    flow.inbound_port = 7891
    assert rule.match(flow)
    assert not rule.match(metadata(port=7890))
