"""The engine against the rules asked one by one, and the proof obligation of its docstring."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.engines import copy_of, engine_of, literal
from support.flows import TARGETS, flows, metadata, rule_lines

from mihomo_tproxy.errors import NeedsAddress
from mihomo_tproxy.model import fields
from mihomo_tproxy.model.enums import Network, TunnelMode
from mihomo_tproxy.model.metadata import Decision, Metadata
from mihomo_tproxy.rule.registry import parse_rule

if TYPE_CHECKING:
    from collections.abc import Callable

    from mihomo_tproxy.rule.engine import Engine

RESOLVED = {"example.com": "10.0.0.1", "www.example.com": "2001:db8::1", "com": "192.0.2.7"}
"""Other names have no address."""
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
    return engine_of([parse_rule(line) for line in lines], mode, **options)  # type: ignore[arg-type]


def decide(
    engine: Engine, flow: Metadata, usable: Callable[[str], bool] | None = None
) -> tuple[str, str, int]:
    """Target, rule and fields; a flow that needs its address gets `RESOLVED`'s."""
    try:
        found = engine.match_usable(flow, usable) if usable else engine.match(flow)
    except NeedsAddress:
        assert flow.resolved is None
        flow.resolved = RESOLVED.get(flow.host, "")
        found = engine.match_usable(flow, usable) if usable else engine.match(flow)
    return found.target, engine.line(found.rank) if found.rank >= 0 else "None", found.depends


def slow(
    lines: list[str],
    flow: Metadata,
    conditional: tuple[str, ...] = (),
    usable: Callable[[str], bool] = lambda target: True,
) -> tuple[str, str, int]:
    other = copy_of(flow)
    other.resolved = RESOLVED.get(flow.host, "")
    found = literal([parse_rule(line) for line in lines], other, conditional, usable)
    return found.target, repr(found.rule), found.depends


def agreeing(other: Metadata, flow: Metadata, mask: int) -> Metadata:
    """`other`, but with the values of `flow` in the fields of the mask."""
    for field, slot in SLOTS.items():
        if mask & field:
            setattr(other, slot, getattr(flow, slot))
    return other


@PROFILE
@given(rule_lines(), flows())
def test_decides_as_the_rules_one_by_one(lines: list[str], flow: Metadata) -> None:
    assert decide(build(lines), copy_of(flow)) == slow(lines, flow)
    if flow.destination or not flow.host:
        assert build(lines).match(flow).target == slow(lines, flow)[0]


@PROFILE
@given(rule_lines(), flows(), st.frozensets(st.sampled_from(TARGETS[1:])), st.booleans())
def test_unusable_targets_are_passed_over(
    lines: list[str], flow: Metadata, unusable: frozenset[str], asked: bool
) -> None:
    conditional = TARGETS[1:]
    engine = engine_of([parse_rule(line) for line in lines], conditional=conditional)

    def usable(target: str) -> bool:
        return target not in unusable

    expected = slow(lines, flow, conditional, usable)
    flow = copy_of(flow)
    if asked:  # the tunnel asks for the first match before it asks for a usable one
        decide(engine, flow)
    assert decide(engine, flow, usable) == expected


@PROFILE
@given(rule_lines(), flows())
def test_an_address_is_asked_for_only_by_a_rule_that_is_reached(
    lines: list[str], flow: Metadata
) -> None:
    engine = build(lines)
    try:
        engine.match(flow)
    except NeedsAddress:
        assert flow.host
        assert not flow.destination
        plain = literal_without_address(lines, flow)
        assert plain is None
    else:
        if flow.host and not flow.destination:
            assert literal_without_address(lines, flow) is not None


def literal_without_address(lines: list[str], flow: Metadata) -> str | None:
    """The target, None if a rule asks for the address first."""
    try:
        return literal([parse_rule(line) for line in lines], copy_of(flow)).target
    except NeedsAddress:
        return None


@PROFILE
@given(rule_lines(), flows(), flows())
def test_flows_that_agree_in_depends_are_decided_alike(
    lines: list[str], flow: Metadata, other: Metadata
) -> None:
    engine = build(lines)
    decision = decide(engine, flow)
    assert decide(engine, agreeing(copy_of(other), flow, decision[2])) == decision


@PROFILE
@given(rule_lines(), flows(hosts=("",)), flows(hosts=("",)))
def test_nameless_flows_decide_alike_and_never_depend_on_the_name(
    lines: list[str], flow: Metadata, other: Metadata
) -> None:
    engine = build(lines, names_observed=False)
    decision = decide(engine, flow)
    assert not decision[2] & fields.DOMAIN
    assert decision[:2] == slow(lines, flow)[:2]
    assert decide(engine, agreeing(other, flow, decision[2])) == decision


@PROFILE
@given(rule_lines(), flows(), flows(), st.sampled_from(sorted(SLOTS)))
def test_a_rule_reads_only_its_fields(
    lines: list[str], flow: Metadata, other: Metadata, field: int
) -> None:
    assume(lines)
    rule = parse_rule(lines[0])
    assume(not rule.fields & field)
    flow.resolved = ""
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
    assert engine.match(metadata()) == Decision("DIRECT", -1, everything)


def test_unknown_destination_matches_no_address_rule() -> None:
    engine = build(["IP-CIDR,0.0.0.0/0,REJECT,no-resolve", "IP-CIDR6,::/0,REJECT,no-resolve"])
    assert engine.match(metadata("", host="example.com")).target == "DIRECT"


def test_modes_ask_no_rule() -> None:
    flow = metadata()
    assert build(["MATCH,REJECT"], TunnelMode.DIRECT).match(flow) == Decision("DIRECT", -1, 0)
    assert build(["MATCH,REJECT"], TunnelMode.GLOBAL).match(flow) == Decision("GLOBAL", -1, 0)
    assert build([]).match(flow) == Decision("DIRECT", -1, 0)


def test_rules_after_match_are_not_asked() -> None:
    engine = build(["MATCH,out", "SRC-PORT,1-65535,REJECT"])
    decision = engine.match(metadata())
    assert (decision.target, decision.depends) == ("out", 0)


def test_rules_pickle() -> None:
    lines = ["DOMAIN-REGEX,^www,a", "IP-CIDR,10.0.0.0/8,b", "DST-PORT,80,c", "MATCH,d"]
    rules = pickle.loads(pickle.dumps([parse_rule(line) for line in lines]))  # noqa: S301
    engine = engine_of(rules)
    assert engine.match(metadata(host="www.example.com")).target == "a"
    assert engine.match(metadata("10.1.1.1")).target == "b"
