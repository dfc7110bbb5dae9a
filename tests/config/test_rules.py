"""Rules in the file: targets, and what is never reached."""

from __future__ import annotations

import pytest

from mihomo_tproxy.config import parse, rules
from mihomo_tproxy.errors import ConfigError
from mihomo_tproxy.rule.registry import MAX_DEPTH


@pytest.mark.parametrize(
    "target", ["DIRECT", "REJECT-DROP", "GLOBAL", "PASS", "COMPATIBLE", "own", "grp"]
)
def test_targets(target: str) -> None:
    groups = "proxy-groups: [{name: grp, type: select, proxies: [own]}]"
    found = parse(f"proxies: [{{name: own, type: direct}}]\n{groups}\nrules: ['MATCH,{target}']")
    assert [rule.target for rule in found.rules] == [target]


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("direct", "target 'direct' not found"),
        ("REJCT", "target 'REJCT' not found, did you mean 'REJECT'?"),
        ("no-resolve", "the target is missing: 'no-resolve' is an option"),
    ],
)
def test_missing_targets(target: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(f"mode: rule\nrules:\n  - MATCH,{target}\n")
    assert [str(problem) for problem in caught.value.problems] == [f"line 3: rules[0]: {says}"]


def test_the_target_of_a_broken_proxy_is_no_second_problem() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("proxies: [{name: x, type: snell}]\nrules: ['MATCH,x']")
    assert len(caught.value.problems) == 1


def test_match_at_the_end_is_no_warning() -> None:
    assert parse("rules: ['DST-PORT,1,REJECT', 'MATCH,DIRECT']").warnings == ()


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return [str(problem) for problem in caught.value.problems]


def test_sub_rules_in_any_order() -> None:
    found = parse(
        """
sub-rules:
  outer:
    - SUB-RULE,(NETWORK,udp),inner
    - MATCH,REJECT
  inner: ["DST-PORT,443,PASS"]
rules:
  - SUB-RULE,(OR,((NETWORK,tcp),(NETWORK,udp))),outer
  - AND,((DOMAIN-REGEX,^a{1,2}(b|c)),(NETWORK,tcp)),DIRECT
"""
    )
    assert [rule.targets() for rule in found.rules] == [("PASS", "REJECT"), ("DIRECT",)]


def test_problems_of_sub_rules() -> None:
    text = """
sub-rules:
  a: ["DST-PORT,x,REJECT", "SUB-RULE,(NETWORK,tcp),missing"]
  b: ["MATCH,nowhere", {}]
  c: 5
rules: ["SUB-RULE,(NETWORK,tcp),d"]
"""
    assert problems(text) == [
        "line 3: sub-rules.a[0]: not a port or range: 'x' (0 to 65535, ranges as in 8-15)",
        "line 3: sub-rules.a[1]: there are no sub-rules 'missing'",
        "line 4: sub-rules.b[0]: target 'nowhere' not found",
        "line 4: sub-rules.b[1]: expected a text, found a mapping",
        "line 5: sub-rules.c: expected a list, found '5'",
        "line 6: rules[0]: there are no sub-rules 'd'",
    ]


def test_circles_of_sub_rules_are_told_with_their_path() -> None:
    text = """
sub-rules:
  a: ["SUB-RULE,(NETWORK,tcp),b"]
  b: ["SUB-RULE,(NETWORK,tcp),c"]
  c: ["MATCH,DIRECT", "SUB-RULE,(NETWORK,tcp),b"]
  d: ["sub-rule , (NETWORK,tcp) , d"]
rules: ["SUB-RULE,(NETWORK,tcp),a"]
"""
    assert problems(text) == [
        "line 5: sub-rules.c[1]: goes round in a circle: b -> c -> b",
        "line 6: sub-rules.d[0]: goes round in a circle: d -> d",
    ]


def test_sub_rules_are_no_deeper_than_rules() -> None:
    lists = "".join(f"  l{n}: ['SUB-RULE,(NETWORK,tcp),l{n + 1}']\n" for n in range(MAX_DEPTH))
    text = f"sub-rules:\n{lists}  l{MAX_DEPTH}: ['MATCH,DIRECT']\n"
    assert problems(text) == [
        f"line 33: sub-rules.l31[0]: more than {MAX_DEPTH} lists inside each other"
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rules: 5", "rules: expected a list, found '5'"),
        ("rules: [[]]", "rules[0]: expected a text, found a list"),
        ("sub-rules: []", "sub-rules: expected a mapping, found a list"),
        ("sub-rules: {'': []}", "sub-rules: a list has an empty name"),
    ],
)
def test_shapes(text: str, says: str) -> None:
    assert problems(text) == [f"line 1: {says}"]


def test_what_comes_after_match_is_told() -> None:
    assert parse("rules: ['MATCH,DIRECT', 'DST-PORT,1,REJECT']").warnings == (
        "line 1: rules: MATCH decides everything: 1 after it never apply",
    )


def test_an_empty_list_decides_nothing() -> None:
    found = parse(
        "sub-rules: {a: [], b: null}\nrules: ['SUB-RULE,(NETWORK,tcp),a', 'MATCH,DIRECT']"
    )
    assert [rule.targets() for rule in found.rules] == [(), ("DIRECT",)]


def test_lists_that_multiply_are_refused() -> None:
    mention = "'SUB-RULE,(NETWORK,tcp),s{}',"
    lists = [f"  s{n}: [{30 * mention.format(n + 1)}]" for n in range(9)]
    text = "\n".join(["sub-rules:", *lists, "  s9: ['DOMAIN,a.test,DIRECT']"])
    assert any("stands for more than" in problem for problem in problems(text))


def test_mentions_of_large_sets_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MAX_TOTAL", 10)
    payload = "payload: ['DOMAIN,a.test', 'DOMAIN,b.test', 'UID,1']"
    text = f"rule-providers: {{r: {{type: inline, behavior: classical, {payload}}}}}\nrules:\n"
    mention = "- RULE-SET,r,DIRECT\n"
    assert len(parse(text + 2 * mention).rules) == 2
    (found,) = problems(text + 5 * mention)
    assert found.endswith("rules[2]: with what their rule sets hold, these are more than 10 rules")


def test_what_comes_after_a_match_that_may_pass_udp_over_is_told_so() -> None:
    proxy = "proxies: [{name: a, type: http, server: s, port: 1}]\n"
    assert parse(proxy + "rules: ['MATCH,a', 'MATCH,DIRECT']").warnings == (
        "line 2: rules: 1 after MATCH apply to nothing but UDP that 'a' does not take",
    )
    assert parse("rules: ['MATCH,PASS', 'MATCH,DIRECT']").warnings == ()
