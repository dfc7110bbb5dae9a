"""The engine against the rules asked one by one, and the proof obligation of its docstring."""

from __future__ import annotations

import pickle

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.flows import flows, metadata, rule_lines

from mihomo_tproxy.model import fields
from mihomo_tproxy.model.enums import Network, TunnelMode
from mihomo_tproxy.model.metadata import Decision, Metadata
from mihomo_tproxy.rule.engine import Engine
from mihomo_tproxy.rule.registry import parse_rule

PROFILE = settings(deadline=None, derandomize=True, max_examples=500)
SLOTS = {
    fields.SRC_ADDR: "source",
    fields.DST_ADDR: "destination",
    fields.SRC_PORT: "source_port",
    fields.DST_PORT: "destination_port",
    fields.NETWORK: "network",
    fields.DOMAIN: "host",
}


def build(lines: list[str], mode: TunnelMode = TunnelMode.RULE, **options: bool) -> Engine:
    return Engine([parse_rule(line) for line in lines], mode, **options)


def slow(lines: list[str], flow: Metadata) -> Decision:
    depends = 0
    for rule in map(parse_rule, lines):
        depends |= rule.fields
        if rule.match(flow):
            return Decision(rule.target, rule, depends)
    return Decision("DIRECT", None, depends)


def agreeing(other: Metadata, flow: Metadata, mask: int) -> Metadata:
    """`other`, but with the values of `flow` in the fields of the mask."""
    for field, slot in SLOTS.items():
        if mask & field:
            setattr(other, slot, getattr(flow, slot))
    return other


@PROFILE
@given(rule_lines(), flows())
def test_decides_as_the_rules_one_by_one(lines: list[str], flow: Metadata) -> None:
    found, expected = build(lines).match(flow), slow(lines, flow)
    assert (found.target, repr(found.rule), found.depends) == (
        expected.target,
        repr(expected.rule),
        expected.depends,
    )


@PROFILE
@given(rule_lines(), flows(), flows())
def test_flows_that_agree_in_depends_are_decided_alike(
    lines: list[str], flow: Metadata, other: Metadata
) -> None:
    engine = build(lines)
    decision = engine.match(flow)
    assert engine.match(agreeing(other, flow, decision.depends)) == decision


@PROFILE
@given(rule_lines(), flows(hosts=("",)), flows(hosts=("",)))
def test_nameless_flows_decide_alike_and_never_depend_on_the_name(
    lines: list[str], flow: Metadata, other: Metadata
) -> None:
    engine = build(lines, names_observed=False)
    decision = engine.match(flow)
    assert not decision.depends & fields.DOMAIN
    expected = slow(lines, flow)
    assert (decision.target, repr(decision.rule)) == (expected.target, repr(expected.rule))
    assert engine.match(agreeing(other, flow, decision.depends)) == decision


@PROFILE
@given(rule_lines(), flows(), flows(), st.sampled_from(sorted(SLOTS)))
def test_a_rule_reads_only_its_fields(
    lines: list[str], flow: Metadata, other: Metadata, field: int
) -> None:
    assume(lines)
    rule = parse_rule(lines[0])
    assume(not rule.fields & field)
    before = rule.match(flow)
    setattr(flow, SLOTS[field], getattr(other, SLOTS[field]))
    assert rule.match(flow) == before


def test_first_match_in_file_order() -> None:
    engine = build(
        ["DST-PORT,443,REJECT", "IP-CIDR,192.0.2.0/24,out", "DST-PORT,80,DIRECT", "MATCH,REJECT"]
    )
    assert engine.match(metadata(port=443)).target == "REJECT"
    assert engine.match(metadata(port=80)).target == "out"
    assert engine.match(metadata("198.51.100.1", port=80)).target == "DIRECT"
    assert engine.match(metadata("198.51.100.1", port=81)).target == "REJECT"


def test_depends_grows_along_the_list() -> None:
    engine = build(["NETWORK,udp,REJECT", "IP-CIDR,10.0.0.0/8,DIRECT", "SRC-PORT,1,out"])
    udp = metadata(network=Network.UDP)
    assert engine.match(udp).depends == fields.NETWORK
    assert engine.match(metadata("10.0.0.1")).depends == fields.NETWORK | fields.DST_ADDR
    everything = fields.NETWORK | fields.DST_ADDR | fields.SRC_PORT
    assert engine.match(metadata()) == Decision("DIRECT", None, everything)


def test_unknown_destination_matches_no_address_rule() -> None:
    engine = build(["IP-CIDR,0.0.0.0/0,REJECT", "IP-CIDR6,::/0,REJECT"])
    assert engine.match(metadata("", host="example.com")).target == "DIRECT"


def test_modes_ask_no_rule() -> None:
    flow = metadata()
    assert build(["MATCH,REJECT"], TunnelMode.DIRECT).match(flow) == Decision("DIRECT", None, 0)
    assert build(["MATCH,REJECT"], TunnelMode.GLOBAL).match(flow) == Decision("GLOBAL", None, 0)
    assert build([]).match(flow) == Decision("DIRECT", None, 0)


def test_rules_after_match_are_not_asked() -> None:
    engine = build(["MATCH,out", "SRC-PORT,1-65535,REJECT"])
    decision = engine.match(metadata())
    assert (decision.target, decision.depends) == ("out", 0)


def test_rules_pickle() -> None:
    lines = ["DOMAIN-REGEX,^www,a", "IP-CIDR,10.0.0.0/8,b", "DST-PORT,80,c", "MATCH,d"]
    rules = pickle.loads(pickle.dumps([parse_rule(line) for line in lines]))  # noqa: S301
    engine = Engine(rules, TunnelMode.RULE)
    assert engine.match(metadata(host="www.example.com")).target == "a"
    assert engine.match(metadata("10.1.1.1")).target == "b"
