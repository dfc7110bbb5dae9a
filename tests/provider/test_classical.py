"""Rules without targets. What mihomo takes was observed with 1.19.32 (inline providers)."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis.strategies import sampled_from, text

from mihomo_tproxy.provider import classical
from mihomo_tproxy.provider.classical import EXPRESSION, MAX_EXPRESSIONS, ClassicalReader
from mihomo_tproxy.rule.registry import KNOWN


@pytest.mark.parametrize(
    "line",
    [
        "DOMAIN,a.example",
        "domain-suffix , a.example ",
        "DOMAIN,a.example,PROXY,more",
        "DOMAIN-SUFFIX,a.example,no-resolve,src",
        "IP-CIDR,192.0.2.0/24,no-resolve",
        "IP-CIDR6,2001:db8::/32, no-resolve , src",
        "SRC-IP-CIDR,192.0.2.0/24,no-resolve",
        "DOMAIN-REGEX,^a{1,2}$",
        "DST-PORT,80/443,src",
        "GEOIP,lan",
        "GEOSITE,a-list-that-may-exist",
        "IP-ASN,64496,no-resolve",
        "PROCESS-NAME,a",
        "NOT,((DOMAIN,x))",
        "AND,((RULE-SET,other),(NETWORK,tcp))",
    ],
)
def test_rules(line: str) -> None:
    ClassicalReader().check(line)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "incomplete rule"),
        ("a.example", "incomplete rule"),
        ("DOMAIN,", "incomplete rule"),
        ("# comment", "incomplete rule"),
        ("MATCH,DIRECT", "MATCH cannot stand inside"),
        ("RULE-SET,a", "RULE-SET cannot stand inside"),
        ("SUB-RULE,(DOMAIN,a),b", "SUB-RULE cannot stand inside"),
        ("FOO,a", "unknown rule kind 'FOO'"),
        ("IP-CIDR,192.0.2.1", "not a CIDR"),
        ("AND,((DOMAIN,a),(NETWORK,tcp)),DIRECT", "not a list of conditions"),
    ],
)
def test_what_is_no_rule(line: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ClassicalReader().check(line)


def test_expressions_are_bounded() -> None:
    reader = ClassicalReader()
    regex = "DOMAIN-REGEX," + "a" * (1024 - EXPRESSION - 13)
    for _ in range(MAX_EXPRESSIONS // 1024):
        reader.check(regex)
    with pytest.raises(ValueError, match="too many expressions"):
        reader.check(regex)
    reader.check("DOMAIN,a")


def test_rules_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classical, "MAX_RULES", 2)
    reader = ClassicalReader()
    for line in ("DOMAIN,a", "DOMAIN,b"):
        reader.check(line)
    with pytest.raises(ValueError, match="more than 2 rules"):
        reader.check("DOMAIN,c")


@given(sampled_from(["", *sorted(KNOWN)]), text())
def test_nothing_but_a_value_error(kind: str, rest: str) -> None:
    with suppress(ValueError):
        ClassicalReader().check(f"{kind},{rest}")
