"""Indexes: each answers for its kind, the lowest rank first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from support.flows import flows, metadata, rule_lines

from mihomo_tproxy.rule.index import build_indexes
from mihomo_tproxy.rule.registry import parse_rule

if TYPE_CHECKING:
    from mihomo_tproxy.model.metadata import Metadata


@settings(deadline=None, derandomize=True, max_examples=300)
@given(rule_lines(), flows(), st.integers(0, 12))
def test_lowest_answer_is_the_first_match_below_the_bound(
    lines: list[str], flow: Metadata, bound: int
) -> None:
    rules = [parse_rule(line) for line in lines]
    answers = [index.first(flow, bound) for index in build_indexes(rules)]
    expected = [rank for rank, rule in enumerate(rules[:bound]) if rule.match(flow)]
    assert min([*answers, bound]) == min(expected, default=bound)


def test_ordered_by_the_lowest_rank() -> None:
    lines = ["DST-PORT,1,a", "NETWORK,udp,a", "IP-CIDR,10.0.0.0/8,a", "DST-PORT,2,a", "DOMAIN,x,a"]
    indexes = build_indexes([parse_rule(line) for line in lines])
    assert [index.lowest for index in indexes] == [0, 1, 2, 4]


def test_of_equal_rules_the_earlier_one_answers() -> None:
    lines = ["DOMAIN,x,a", "DOMAIN,x,b", "DOMAIN-SUFFIX,x,c", "DOMAIN-SUFFIX,x,d"]
    (index,) = build_indexes([parse_rule(line) for line in lines])
    assert index.first(metadata(host="x"), 9) == 0
    assert index.first(metadata(host="y.x"), 9) == 2


def test_no_rules_no_indexes() -> None:
    assert build_indexes([]) == ()
