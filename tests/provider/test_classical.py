"""Rules without targets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis.strategies import text

from mihomo_tproxy.provider.classical import MAX_COSTLY, ClassicalReader


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("DOMAIN,a.example", "DOMAIN,a.example"),
        ("domain-suffix , a.example ", "DOMAIN-SUFFIX,a.example"),
        ("DOMAIN,a.example,PROXY,more", "DOMAIN,a.example"),
        ("DOMAIN-SUFFIX,a.example,no-resolve,src", "DOMAIN-SUFFIX,a.example"),
        ("IP-CIDR,192.0.2.0/24", "IP-CIDR,192.0.2.0/24"),
        ("IP-CIDR,192.0.2.0/24,no-resolve", "IP-CIDR,192.0.2.0/24,no-resolve"),
        ("IP-CIDR6,2001:db8::/32, no-resolve , src", "IP-CIDR6,2001:db8::/32,src,no-resolve"),
        ("SRC-IP-CIDR,192.0.2.0/24,no-resolve", "SRC-IP-CIDR,192.0.2.0/24"),
        ("DOMAIN-REGEX,^a{1,2}$", "DOMAIN-REGEX,^a{1,2}$"),
        ("DST-PORT,80/443,src", "DST-PORT,80/443"),
    ],
)
def test_rules(line: str, found: str) -> None:
    assert ClassicalReader().read(line) == found
    assert ClassicalReader().read(found) == found


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "incomplete rule"),
        ("a.example", "incomplete rule"),
        ("DOMAIN,", "incomplete rule"),
        ("# comment", "incomplete rule"),
        ("MATCH,DIRECT", "MATCH is not allowed in a rule provider"),
        ("RULE-SET,a", "RULE-SET is not allowed"),
        ("SUB-RULE,(DOMAIN,a),b", "SUB-RULE is not allowed"),
        ("FOO,a", "unknown rule kind 'FOO'"),
        ("IP-CIDR,192.0.2.1", "not a CIDR"),
    ],
)
def test_what_is_no_rule(line: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ClassicalReader().read(line)


def test_expressions_are_bounded() -> None:
    reader = ClassicalReader()
    regex = "DOMAIN-REGEX," + "a" * 1000
    for _ in range(MAX_COSTLY // 1000):
        assert reader.read(regex) == regex
    with pytest.raises(ValueError, match="too many expressions"):
        reader.read(regex)
    assert reader.read("DOMAIN,a") == "DOMAIN,a"


@given(text())
def test_anything(line: str) -> None:
    try:
        found = ClassicalReader().read(line)
    except ValueError:
        return
    assert ClassicalReader().read(found) == found
