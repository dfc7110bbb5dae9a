"""DOMAIN-REGEX rules: searched, letters of either case alike. See tests of matcher.expressions."""

from __future__ import annotations

import pytest
from support.flows import metadata

from mihomo_tproxy.rule.registry import parse_rule


@pytest.mark.parametrize(
    ("payload", "host", "matches"),
    [
        ("^www[.]", "www.example.com", True),
        ("^WWW[.]", "www.example.com", True),
        ("ample", "example.com", True),
        ("^ample", "example.com", False),
        ("^a{1,3}$", "aa", True),
        ("^a{1,3}$", "aaaa", False),
        (".*", "", True),
        ("^$", "", True),
        ("(?<=w[.])ex", "www.example.com", True),
    ],
)
def test_match(payload: str, host: str, matches: bool) -> None:
    assert parse_rule(f"DOMAIN-REGEX,{payload},out").match(metadata(host=host)) is matches


@pytest.mark.parametrize("pattern", ["a" * 1025, "[", "*a"])
def test_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="expression"):
        parse_rule(f"DOMAIN-REGEX,{pattern},out")
