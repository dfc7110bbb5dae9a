"""MATCH rules."""

from __future__ import annotations

from support.flows import metadata

from mihomo_tproxy.rule.registry import parse_rule


def test_matches_everything_and_looks_at_nothing() -> None:
    rule = parse_rule("MATCH,out")
    assert rule.match(metadata())
    assert rule.match(metadata("", host="example.com"))
    assert rule.fields == 0
