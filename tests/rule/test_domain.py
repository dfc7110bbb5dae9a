"""DOMAIN rules: the whole name, lower-cased, in ASCII form."""

from __future__ import annotations

import pytest
from support.flows import metadata

from mihomo_tproxy.rule.registry import parse_rule


@pytest.mark.parametrize(
    ("payload", "host", "matches"),
    [
        ("example.com", "example.com", True),
        ("Example.COM", "example.com", True),
        ("example.com", "www.example.com", False),
        ("example.com", "", False),
        ("bücher.example", "xn--bcher-kva.example", True),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", True),
    ],
)
def test_match(payload: str, host: str, matches: bool) -> None:
    assert parse_rule(f"DOMAIN,{payload},out").match(metadata(host=host)) is matches
