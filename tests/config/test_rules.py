"""Rules in the file: targets, and what is never reached."""

from __future__ import annotations

import pytest

from mihomo_tproxy.config import parse
from mihomo_tproxy.errors import ConfigError


@pytest.mark.parametrize("target", ["DIRECT", "REJECT-DROP", "GLOBAL", "PASS", "own", "grp"])
def test_targets(target: str) -> None:
    groups = "proxy-groups: [{name: grp, type: select, proxies: [own]}]"
    found = parse(f"proxies: [{{name: own, type: direct}}]\n{groups}\nrules: ['MATCH,{target}']")
    assert [rule.target for rule in found.rules] == [target]


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("direct", "target 'direct' not found"),
        ("REJCT", "target 'REJCT' not found, did you mean 'REJECT'?"),
    ],
)
def test_missing_targets(target: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(f"rules:\n  - MATCH,{target}\n")
    assert [str(problem) for problem in caught.value.problems] == [f"line 2: rules[0]: {says}"]


def test_the_target_of_a_broken_proxy_is_no_second_problem() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("proxies: [{name: x, type: snell}]\nrules: ['MATCH,x']")
    assert len(caught.value.problems) == 1


def test_match_at_the_end_is_no_warning() -> None:
    assert parse("rules: ['DST-PORT,1,REJECT', 'MATCH,DIRECT']").warnings == ()
