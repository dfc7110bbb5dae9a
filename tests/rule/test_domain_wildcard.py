"""DOMAIN-WILDCARD rules: `*` any text, `?` one character."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.flows import metadata

from mihomo_tproxy.rule.domain_wildcard import wildcard_match
from mihomo_tproxy.rule.registry import parse_rule


@pytest.mark.parametrize(
    ("payload", "host", "matches"),
    [
        ("*.example.com", "a.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.EXAMPLE.com", "a.example.com", True),
        ("?.com", "a.com", True),
        ("?.com", ".com", False),
        ("?.com", "ab.com", False),
        ("*", "", True),
        ("**", "abc", True),
        ("a*b*c", "aXbXbXc", True),
        ("a*b*c", "aXbX", False),
        ("example.com", "example.com", True),
        ("example.com", "exampleXcom", False),
        ("*a", "ba", True),
        ("?", "", False),
    ],
)
def test_match(payload: str, host: str, matches: bool) -> None:
    assert parse_rule(f"DOMAIN-WILDCARD,{payload},out").match(metadata(host=host)) is matches


@settings(deadline=None, derandomize=True, max_examples=1000)
@given(st.text("ab.*?", max_size=8), st.text("ab.", max_size=10))
def test_agrees_with_fnmatch(pattern: str, text: str) -> None:
    assert wildcard_match(pattern, text) == fnmatchcase(text, pattern)


def test_many_stars_take_no_exponential_time() -> None:
    assert not wildcard_match("*a" * 60 + "b", "a" * 255)
