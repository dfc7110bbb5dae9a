"""A clue never keeps a rule from a name that it matches."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.engines import engine_of
from support.flows import Lists, metadata

from mihomo_tproxy.matcher.domain_set import DomainSet
from mihomo_tproxy.matcher.expressions import Expression
from mihomo_tproxy.rule.clues import Clue, clue_of, take_apart
from mihomo_tproxy.rule.context import RuleSetContent
from mihomo_tproxy.rule.registry import parse_rule

PROFILE = settings(deadline=None, derandomize=True, max_examples=500)
NAMES = st.lists(st.sampled_from(("a", "b", "ab", "com", "x1")), min_size=1, max_size=4).map(
    ".".join
)
_PIECES = st.sampled_from(("a", "b", ".", "com", "x1", "*", "?", "a.", ".com"))
WILDCARDS = st.lists(_PIECES, min_size=1, max_size=5).map("".join)
EXPRESSIONS = st.builds(
    lambda head, middle, tail: head + middle + tail,
    st.sampled_from(("", "^", r"(^|\.)", r"\.", ".+", "(a|b)?")),
    st.lists(
        st.sampled_from((r"a\.", "b", "[0-9]+", r"\.", "x1", ".", "(ab|com)")), max_size=4
    ).map("".join),
    st.sampled_from(("", "$", r"\.com$", "com$", "a?$", r"(com|b)$", r"\.com|b$")),
)
PATTERNS = st.sampled_from(("+.*.com", "*.a.*", "+.ab.*", "*.*", "a.*.com", ".*.b", "+.x1.*.b"))


def fits(clue: Clue, name: str) -> bool:
    if clue.domain:
        return name == clue.domain or name.endswith("." + clue.domain)
    return clue.part in name


def may_match(clue: Clue | None, name: str) -> bool:
    return clue is None or fits(clue, name)


@PROFILE
@given(WILDCARDS, st.lists(NAMES, min_size=1, max_size=8))
def test_wildcards(pattern: str, names: list[str]) -> None:
    rule = parse_rule(f"DOMAIN-WILDCARD,{pattern},out")
    for name in names:
        if rule.match(metadata(host=name)):
            assert may_match(clue_of(rule), name)


@PROFILE
@given(EXPRESSIONS, st.lists(NAMES, min_size=1, max_size=8))
def test_expressions(pattern: str, names: list[str]) -> None:
    rule = parse_rule(f"DOMAIN-REGEX,{pattern or '^'},out")
    for name in names:
        if rule.match(metadata(host=name)):
            assert may_match(clue_of(rule), name)


@PROFILE
@given(
    st.lists(PATTERNS, max_size=4),
    st.lists(EXPRESSIONS, max_size=4),
    st.lists(NAMES, min_size=1, max_size=8),
)
def test_a_list_in_parts_is_the_list(
    patterns: list[str], expressions: list[str], names: list[str]
) -> None:
    whole = DomainSet(patterns)
    whole.expressions = [Expression(each) for each in expressions]
    clued, rest = take_apart(whole)
    rule = parse_rule("RULE-SET,list,out", Lists({"list": RuleSetContent(domains=whole)}))
    engine = engine_of([rule, parse_rule("MATCH,other")])
    for name in names:
        flow = metadata(host=name)
        asked = any(fits(clue, name) and each.match(flow) for clue, each in clued)
        assert (asked or name in rest) == (name in whole)
        assert engine.match(flow).target == ("out" if name in whole else "other")


@pytest.mark.parametrize(
    ("line", "clue"),
    [
        ("DOMAIN-WILDCARD,www.*.com,out", Clue("com", "")),
        ("DOMAIN-WILDCARD,example.com,out", Clue("example.com", "")),
        ("DOMAIN-WILDCARD,*google*,out", Clue("", "google")),
        ("DOMAIN-WILDCARD,*,out", None),
        (r"DOMAIN-REGEX,^ad[0-9]+\.example\.com$,out", Clue("example.com", "")),
        (r"DOMAIN-REGEX,(^|\.)mimi\.(cfd|lol)$,out", Clue("", "mimi.")),
        ("DOMAIN-REGEX,.*,out", None),
        ("AND,((NETWORK,udp),(DOMAIN-SUFFIX,a.com)),out", Clue("a.com", "")),
        ("AND,((DOMAIN-KEYWORD,a),(DOMAIN-SUFFIX,a.com)),out", Clue("a.com", "")),
        ("AND,((DST-PORT,443),(DOMAIN-KEYWORD,ads)),out", Clue("", "ads")),
        ("AND,((DST-PORT,443),(NETWORK,udp)),out", None),
        ("AND,((IP-CIDR,10.0.0.0/8),(DOMAIN,a.com)),out", None),
        ("AND,((IP-CIDR,10.0.0.0/8,no-resolve),(DOMAIN,a.com)),out", None),
        ("OR,((DOMAIN,a.com),(DOMAIN,b.com)),out", None),
        ("NOT,((DOMAIN,a.com)),out", None),
    ],
)
def test_clues(line: str, clue: Clue | None) -> None:
    assert clue_of(parse_rule(line)) == clue
