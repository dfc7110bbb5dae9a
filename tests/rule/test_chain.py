"""The list of rules that can decide: where it ends, what it leaves out."""

from __future__ import annotations

from support.flows import Lists

from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.chain import chain, steered_constants
from mihomo_tproxy.rule.context import RuleSetContent
from mihomo_tproxy.rule.registry import parse_rule


def links(lines: list[str], *, names_observed: bool) -> list[tuple[str, int, bool]]:
    rules = [parse_rule(line) for line in lines]
    found = chain(rules, 0 if names_observed else steered_constants(names_observed=False))
    return [(link.rule.target, link.depends, link.always) for link in found]


LINES = [
    "DOMAIN,a,1",
    "DST-PORT,80,2",
    "DOMAIN-WILDCARD,*,3",
    "NETWORK,tcp,4",
    "MATCH,5",
    "MATCH,6",
]


def test_with_names() -> None:
    both = fields.DOMAIN | fields.DST_PORT
    assert links(LINES, names_observed=True) == [
        ("1", fields.DOMAIN, False),
        ("2", both, False),
        ("3", both, False),
        ("4", both | fields.NETWORK, False),
        ("5", both | fields.NETWORK, True),
    ]


def test_without_names_a_domain_rule_is_a_constant() -> None:
    assert links(LINES, names_observed=False) == [
        ("2", fields.DST_PORT, False),
        ("3", fields.DST_PORT, True),
    ]


def test_a_target_that_may_be_passed_over_ends_nothing() -> None:
    rules = [parse_rule(line) for line in ("DST-PORT,80,group", "MATCH,group", "MATCH,out")]
    found = [(link.depends, link.always) for link in chain(rules, 0, {"group"})]
    both = fields.DST_PORT | fields.NETWORK
    assert found == [(both, False), (both, False), (both, True)]


def test_a_rule_that_looks_at_nothing_need_not_match() -> None:
    """A rule set inside a logic rule, whose content is not there yet."""
    context = Lists({"later": RuleSetContent()})
    lines = ("AND,((RULE-SET,later)),1", "NOT,((RULE-SET,later)),2", "MATCH,3")
    found = chain([parse_rule(line, context) for line in lines])
    assert [(link.rule.target, link.always) for link in found] == [("2", True)]
