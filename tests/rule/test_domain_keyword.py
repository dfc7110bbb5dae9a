"""DOMAIN-KEYWORD rules: text anywhere in the name."""

from __future__ import annotations

import pytest
from support.flows import metadata

from mihomo_tproxy.rule.registry import parse_rule


@pytest.mark.parametrize(
    ("payload", "host", "matches"),
    [
        ("oog", "www.google.com", True),
        ("OOG", "google.com", True),
        ("e.c", "google.com", True),
        ("yahoo", "google.com", False),
        ("a", "", False),
    ],
)
def test_match(payload: str, host: str, matches: bool) -> None:
    assert parse_rule(f"DOMAIN-KEYWORD,{payload},out").match(metadata(host=host)) is matches
