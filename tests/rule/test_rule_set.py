"""RULE-SET rules, as observed with mihomo 1.19.32."""

from __future__ import annotations

import pytest
from support.flows import Lists, metadata, request

from mihomo_tproxy.matcher.cidr import parse_cidr
from mihomo_tproxy.matcher.cidr_set import CidrSet
from mihomo_tproxy.matcher.domain_set import DomainSet
from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.address import AddressRule
from mihomo_tproxy.rule.context import RuleSetContent
from mihomo_tproxy.rule.domain_list import DomainListRule
from mihomo_tproxy.rule.registry import MAX_SET_WEIGHT, parse_condition, parse_rule
from mihomo_tproxy.rule.rule_set import ClassicalSet


def classical(*lines: str, options: str = "") -> ClassicalSet:
    sets = {
        "set": RuleSetContent(lines=lines),
        "names": RuleSetContent(domains=DomainSet(["a.example"])),
        "local": RuleSetContent(ranges=CidrSet(parse_cidr("127.0.0.0/8"))),
    }
    rule = parse_rule(f"RULE-SET,set,out{options}", Lists(sets))
    assert isinstance(rule, ClassicalSet)
    return rule


def test_domain() -> None:
    lists = Lists({"set": RuleSetContent(domains=DomainSet(["+.a.example"]))})
    for options in ("", ",src", ",no-resolve"):
        rule = parse_rule(f"RULE-SET,set,out{options}", lists)
        assert isinstance(rule, DomainListRule)
        assert rule.match(metadata(host="b.a.example"))
        assert not rule.match(metadata())


def test_addresses() -> None:
    lists = Lists({"set": RuleSetContent(ranges=CidrSet(parse_cidr("192.0.2.0/24")))})
    rule = parse_rule("RULE-SET,set,out", lists)
    assert isinstance(rule, AddressRule)
    assert (rule.fields, rule.resolves) == (fields.DST_ADDR, True)
    assert rule.match(metadata("192.0.2.1"))
    rule = parse_rule("RULE-SET,set,out,src", lists)
    assert (rule.fields, rule.resolves) == (fields.SRC_ADDR, False)
    assert not parse_rule("RULE-SET,set,out,no-resolve", lists).resolves


def test_nothing_yet() -> None:
    rule = parse_rule("RULE-SET,set,out", Lists({"set": RuleSetContent()}))
    assert isinstance(rule, ClassicalSet)
    assert (rule.rules, rule.fields, rule.resolves) == ((), 0, False)
    assert not rule.match(metadata())


def test_classical() -> None:
    rule = classical("DOMAIN,a.example,extended-matching", "AND,((DST-PORT,80),(NETWORK,tcp))")
    assert [inner.target for inner in rule.rules] == ["out", "out"]
    assert rule.fields == fields.DOMAIN | fields.DST_PORT | fields.NETWORK
    assert rule.match(metadata(host="a.example"))
    assert rule.match(metadata(port=80))
    assert not rule.match(metadata())


def test_lines_that_are_no_rules_are_passed_over() -> None:
    lines = ("MATCH", "RULE-SET,names", "SUB-RULE,(NETWORK,tcp),x", "FOO,x", "DOMAIN", "UID,3")
    assert [repr(rule) for rule in classical(*lines).rules] == ["UID,3,out"]


def test_no_resolve_is_for_all() -> None:
    lines = ("IP-CIDR,10.0.0.0/8", "AND,((GEOIP,LAN),(RULE-SET,local))")
    assert classical(*lines).resolves
    rule = classical(*lines, options=",no-resolve")
    assert not rule.resolves
    assert not rule.match(request(host="a.example"))


@pytest.mark.parametrize(
    ("line", "source", "source_port", "destination", "port"),
    [
        ("IP-CIDR,127.0.0.0/8", True, False, False, False),
        ("IP-CIDR,127.0.0.0/8,src", False, False, True, False),
        ("SRC-IP-CIDR,127.0.0.0/8", False, False, True, False),
        ("SRC-IP-CIDR,127.0.0.0/8,src", False, False, True, False),
        ("GEOIP,lan", True, False, False, False),
        ("SRC-GEOIP,lan", False, False, True, False),
        ("IP-SUFFIX,0.0.0.1/8", True, False, False, False),
        ("NOT,((IP-CIDR,127.0.0.0/8))", False, True, True, True),
        ("AND,((RULE-SET,local),(NETWORK,tcp))", True, False, False, False),
        ("AND,((RULE-SET,local,src),(NETWORK,tcp))", False, False, True, False),
        ("DST-PORT,7", False, True, False, False),
        ("SRC-PORT,7", False, False, False, True),
        ("IN-PORT,7", False, False, False, False),
    ],
)
def test_source_is_an_exchange(
    line: str, source: bool, source_port: bool, destination: bool, port: bool
) -> None:
    rule = classical(line, options=",src")
    there, here = "192.0.2.7", "127.0.0.1"
    assert not rule.resolves
    assert rule.match(metadata(there, 8, source=here, source_port=8)) is source
    assert rule.match(metadata(there, 8, source=there, source_port=7)) is source_port
    assert rule.match(metadata(here, 8, source=there, source_port=8)) is destination
    assert rule.match(metadata(there, 7, source=there, source_port=8)) is port


def test_a_set_inside_a_logic_rule_inside_a_set() -> None:
    assert classical("AND,((RULE-SET,names),(NETWORK,tcp))").match(metadata(host="a.example"))


def test_sets_that_hold_each_other() -> None:
    lists = Lists(
        {
            "a": RuleSetContent(lines=("DOMAIN,a.example", "AND,((RULE-SET,b),(NETWORK,tcp))")),
            "b": RuleSetContent(lines=("DOMAIN,b.example", "NOT,((RULE-SET,a))")),
        }
    )
    rule = parse_rule("RULE-SET,a,out", lists)
    assert rule.match(metadata(host="b.example"))
    assert not rule.match(metadata(host="c.example"))


def test_many_mentions_are_one_expansion() -> None:
    """Each set names the next one twice: 2 ** 12 rules, were they not shared."""
    sets = {
        str(n): RuleSetContent(lines=(f"AND,((RULE-SET,{n + 1}),(RULE-SET,{n + 1}))",))
        for n in range(12)
    }
    rule = parse_rule("RULE-SET,0,out", Lists({**sets, "12": RuleSetContent(lines=("UID,1",))}))
    assert rule.fields == fields.UID


@pytest.mark.parametrize("last", [("UID,1",), ()])
def test_mentions_do_not_multiply_what_a_flow_has_to_wait_for(last: tuple[str, ...]) -> None:
    """What would is passed over: strangers write these lines."""
    sets = {
        str(n): RuleSetContent(lines=(f"OR,((RULE-SET,{n + 1}),(RULE-SET,{n + 1}))",) * 9)
        for n in range(12)
    }
    rule = parse_rule("RULE-SET,0,out", Lists({**sets, "12": RuleSetContent(lines=last)}))
    assert rule.weight <= 2 * MAX_SET_WEIGHT
    assert not rule.match(metadata())


@pytest.mark.parametrize("line", ["MATCH", "RULE-SET,x", "SUB-RULE,(NETWORK,tcp),x"])
def test_no_condition(line: str) -> None:
    with pytest.raises(ValueError, match="cannot stand inside another rule"):
        parse_condition(line, "out")
