"""DOMAIN-SUFFIX rules: whole labels only."""

from __future__ import annotations

import pytest
from support.flows import metadata

from mihomo_tproxy.rule.registry import parse_rule


@pytest.mark.parametrize(
    ("payload", "host", "matches"),
    [
        ("example.com", "example.com", True),
        ("Example.com", "a.b.example.com", True),
        ("example.com", "notexample.com", False),
        ("example.com", "com", False),
        ("example.com", "", False),
        (".example.com", "a.example.com", False),
        ("例子", "a.xn--fsqu00a", True),
    ],
)
def test_match(payload: str, host: str, matches: bool) -> None:
    assert parse_rule(f"DOMAIN-SUFFIX,{payload},out").match(metadata(host=host)) is matches
