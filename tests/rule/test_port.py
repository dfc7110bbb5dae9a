"""Port rules: lists and ranges as mihomo reads them."""

from __future__ import annotations

from support.flows import metadata

from mihomo_tproxy.rule.registry import parse_rule


def test_match() -> None:
    destination, source = parse_rule("DST-PORT,80/90-99,out"), parse_rule("SRC-PORT,5,out")
    assert [port for port in range(70, 110) if destination.match(metadata(port=port))] == [
        80,
        *range(90, 100),
    ]
    assert source.match(metadata(port=80, source_port=5))
    assert not source.match(metadata(port=5, source_port=80))
