"""GEOSITE rules, as observed with mihomo 1.19.32."""

from __future__ import annotations

import pytest
from support.flows import Lists, metadata

from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.domain_list import DomainListRule
from mihomo_tproxy.rule.registry import parse_rule


@pytest.mark.parametrize(
    ("code", "matches"),
    [
        ("google", [True, False, False]),
        ("GOOGLE", [True, False, False]),
        ("google@ads", [True, False, False]),
        ("!google", [False, True, False]),
    ],
)
def test_match(code: str, matches: list[bool]) -> None:
    rule = parse_rule(f"GEOSITE,{code},out,no-resolve", Lists())
    assert (rule.fields, rule.resolves) == (fields.DOMAIN, False)
    hosts = ("www.google.example", "example.com", "")
    assert [rule.match(metadata(host=host)) for host in hosts] == matches


def test_a_plain_list_can_be_indexed() -> None:
    assert isinstance(parse_rule("GEOSITE,google,out", Lists()), DomainListRule)


def test_missing() -> None:
    with pytest.raises(ValueError, match="no geosite data for 'nosuch'"):
        parse_rule("GEOSITE,nosuch,out", Lists())
