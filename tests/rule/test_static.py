"""Static verdicts: a longest-prefix-match look-up never contradicts the engine."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from support.engines import engine_of
from support.flows import ADDRESSES, TARGETS, Lists, address_rule_lines, flows, rule_lines

from mihomo_tproxy.matcher.cidr import masked, parse_cidr
from mihomo_tproxy.matcher.cidr_set import CidrSet
from mihomo_tproxy.model import fields
from mihomo_tproxy.model.address import V4_MAPPED, address_key
from mihomo_tproxy.model.enums import Network, TunnelMode, Verdict
from mihomo_tproxy.rule.chain import steered_constants
from mihomo_tproxy.rule.context import RuleSetContent
from mihomo_tproxy.rule.engine import Engine
from mihomo_tproxy.rule.flatten import build_image
from mihomo_tproxy.rule.image import Image
from mihomo_tproxy.rule.registry import parse_rule
from mihomo_tproxy.rule.static import StaticVerdict, masks, static_prefixes, verdict_of

if TYPE_CHECKING:
    from mihomo_tproxy.model.interfaces import Rule
    from mihomo_tproxy.model.metadata import Decision, Metadata

PROFILE = settings(deadline=None, derandomize=True, max_examples=500)
RULE = TunnelMode.RULE


def longest_match(table: list[StaticVerdict], address: str) -> Verdict:
    """What the kernel's table answers."""
    key = address_key(address)
    hits = [entry for entry in table if masked(key, entry.length).key == entry.key]
    return max(hits, key=lambda entry: entry.length).verdict if hits else Verdict.UNKNOWN


def table_of(*lines: str, **options: object) -> list[StaticVerdict]:
    rules = [parse_rule(line) for line in lines]
    return static_prefixes(rules, RULE, **{"names_observed": False, **options})  # type: ignore[arg-type]


@PROFILE
@given(
    address_rule_lines(),
    st.lists(flows(named=False), min_size=4, max_size=8),
    st.booleans(),
    st.integers(0, 200),
)
def test_never_contradicts_the_engine(
    lines: list[str], others: list[Metadata], names_observed: bool, limit: int
) -> None:
    rules = [parse_rule(line) for line in lines]
    table = static_prefixes(rules, RULE, names_observed=names_observed, limit=limit)
    assert len(table) <= limit
    engine = engine_of(rules, names_observed=names_observed)
    for address in ADDRESSES:
        found = longest_match(table, address)
        if found not in (Verdict.DIRECT, Verdict.DROP):
            continue
        for flow in others:
            flow.destination = address
            if not names_observed:
                flow.host = ""
            assert verdict_of(engine.match(flow).target) == found


@PROFILE
@given(address_rule_lines(), flows(named=False))
def test_all_that_depends_on_the_address_alone_is_in_the_table(
    lines: list[str], flow: Metadata
) -> None:
    rules = [parse_rule(line) for line in lines]
    decision = engine_of(rules).match(flow)
    if not decision.depends & ~fields.DST_ADDR:
        table = static_prefixes(rules, RULE, names_observed=True)
        assert longest_match(table, flow.destination) == verdict_of(decision.target)


SETS = Lists(
    {
        "nets": RuleSetContent(
            ranges=CidrSet([*parse_cidr("10.0.0.0/16"), *parse_cidr("fd00::/8")])
        ),
        "mixed": RuleSetContent(
            lines=(
                "IP-CIDR,10.0.1.0/24",
                "AND,((NETWORK,udp),(DST-PORT,443))",
                "DOMAIN,example.com",
                "IP-CIDR6,2001:db8::/48",
            )
        ),
        "addresses": RuleSetContent(lines=("IP-CIDR,10.1.0.0/16", "IP-CIDR,192.0.2.7/32")),
        "empty": RuleSetContent(),
    },
    {
        "list": (
            parse_rule("IP-CIDR,10.0.0.0/24,REJECT"),
            parse_rule("DST-PORT,443,DIRECT"),
            parse_rule("IP-CIDR,10.0.0.0/8,out"),
        )
    },
)
WIDE = st.builds(
    lambda head, target: f"{head},{target}",
    st.sampled_from(
        ("RULE-SET,nets", "RULE-SET,mixed", "RULE-SET,addresses", "RULE-SET,empty",
         "IN-TYPE,SOCKS5", "IN-TYPE,TPROXY", "AND,((IP-CIDR,10.0.0.0/8),(NETWORK,tcp))")
    ),
    st.sampled_from(TARGETS),
)  # fmt: skip
LISTS = st.builds(
    lambda *parts: [parse_rule(line, SETS) for part in parts for line in part],
    address_rule_lines(),
    st.lists(WIDE | st.sampled_from(("SUB-RULE,(NETWORK,tcp),list", "MATCH,GLOBAL")), max_size=4),
    rule_lines(),
)
"""Rules, with everything that is expanded or always the same."""
CONDITIONAL = st.frozensets(st.sampled_from(TARGETS[3:]))
"""Targets that may be passed over."""
UNUSABLE = st.frozensets(st.tuples(st.sampled_from(TARGETS), st.sampled_from(Network)))
"""Those that are, and for which network."""


def steered_engine(
    rules: list[Rule], conditional: frozenset[str], *, names_observed: bool
) -> Engine:
    """What a worker asks for flows that the kernel steers."""
    constant = steered_constants(names_observed=names_observed)
    return Engine(Image(build_image(rules, conditional)), RULE, constant=constant)


def decide(
    engine: Engine, flow: Metadata, conditional: frozenset[str], unusable: frozenset[object]
) -> Decision:
    return engine.match_usable(
        flow, lambda name: name not in conditional or (name, flow.network) not in unusable
    )


@PROFILE
@given(LISTS, CONDITIONAL, UNUSABLE, st.lists(flows(named=False), min_size=3), st.booleans())
def test_never_contradicts_the_engine_whatever_can_be_used(
    rules: list[Rule],
    conditional: frozenset[str],
    unusable: frozenset[object],
    others: list[Metadata],
    names_observed: bool,
) -> None:
    table = static_prefixes(rules, RULE, names_observed=names_observed, conditional=conditional)
    engine = steered_engine(rules, conditional, names_observed=names_observed)
    for address in ADDRESSES:
        found = longest_match(table, address)
        if found not in (Verdict.DIRECT, Verdict.DROP):
            continue
        for flow in others:
            flow.destination = address
            if not names_observed:
                flow.host = ""
            assert verdict_of(decide(engine, flow, conditional, unusable).target) == found


@PROFILE
@given(LISTS, CONDITIONAL, UNUSABLE, flows(named=False), st.booleans())
def test_masks_hold_every_cacheable_depends(
    rules: list[Rule],
    conditional: frozenset[str],
    unusable: frozenset[object],
    flow: Metadata,
    names_observed: bool,
) -> None:
    if not names_observed:
        flow.host = ""
    found = masks(rules, RULE, names_observed=names_observed, conditional=conditional)
    engine = steered_engine(rules, conditional, names_observed=names_observed)
    decision = decide(engine, flow, conditional, unusable)
    depends = decision.depends
    if depends:
        assert (depends in found) == (not depends & (fields.SRC_PORT | fields.DOMAIN))
    elif fields.NETWORK not in found:
        table = static_prefixes(rules, RULE, names_observed=names_observed, conditional=conditional)
        assert longest_match(table, flow.destination) == verdict_of(decision.target)
        assert verdict_of(decision.target) is not Verdict.UNKNOWN
    for smaller, larger in pairwise(found):
        assert smaller & larger == smaller != larger


def test_earlier_rule_wins_over_a_longer_one() -> None:
    table = table_of("IP-CIDR,10.0.0.0/8,DIRECT", "IP-CIDR,10.1.0.0/16,REJECT-DROP", "MATCH,out")
    assert longest_match(table, "10.1.0.1") is Verdict.DIRECT
    assert longest_match(table, "11.0.0.1") is Verdict.UNKNOWN
    assert len(table) == 1


def test_user_space_prefix_holds_a_later_shorter_direct_off() -> None:
    table = table_of("IP-CIDR,10.1.0.0/16,REJECT", "IP-CIDR,10.0.0.0/8,DIRECT", "MATCH,REJECT-DROP")
    assert longest_match(table, "10.1.0.1") is Verdict.UNKNOWN
    assert longest_match(table, "10.2.0.1") is Verdict.DIRECT
    assert longest_match(table, "2001:db8::1") is Verdict.DROP


def test_all_of_v6_is_not_v4() -> None:
    table = table_of("IP-CIDR6,::/0,REJECT-DROP", "MATCH,DIRECT")
    assert longest_match(table, "192.0.2.1") is Verdict.DIRECT
    assert longest_match(table, "2001:db8::1") is Verdict.DROP


def test_stops_at_the_first_rule_that_needs_more() -> None:
    table = table_of("IP-CIDR,10.0.0.0/8,DIRECT", "DST-PORT,22,REJECT", "MATCH,DIRECT")
    assert table == [StaticVerdict(V4_MAPPED | 10 << 24, 104, Verdict.DIRECT)]


def test_a_source_address_is_not_a_destination() -> None:
    for line in ("SRC-IP-CIDR,10.0.0.0/8,DIRECT", "IP-CIDR,10.0.0.0/8,DIRECT,src"):
        assert table_of(line, "MATCH,DIRECT") == []


def test_names_decide_whether_domain_rules_stand_in_the_way() -> None:
    lines = ("DOMAIN-SUFFIX,example.com,REJECT", "MATCH,DIRECT")
    assert table_of(*lines) == [StaticVerdict(0, 0, Verdict.DIRECT)]
    assert table_of(*lines, names_observed=True) == []
    assert table_of("DOMAIN-REGEX,.*,REJECT-DROP", "MATCH,DIRECT") == [(0, 0, Verdict.DROP)]


def test_no_rule_at_all_is_direct() -> None:
    assert table_of() == [StaticVerdict(0, 0, Verdict.DIRECT)]


def test_modes() -> None:
    rules = [parse_rule("MATCH,REJECT")]
    for mode, verdict, cached in (
        (TunnelMode.DIRECT, Verdict.DIRECT, ()),
        (TunnelMode.GLOBAL, Verdict.UNKNOWN, (fields.NETWORK,)),
    ):
        table = static_prefixes(rules, mode, names_observed=True)
        assert table == [StaticVerdict(0, 0, verdict)]
        assert masks(rules, mode, names_observed=True) == cached


def test_limit_keeps_what_comes_first() -> None:
    lines = ("IP-CIDR,12.0.0.0/8,DIRECT", "IP-CIDR,10.0.0.0/8,DIRECT", "MATCH,out")
    table = table_of(*lines, limit=1)
    assert longest_match(table, "12.0.0.1") is Verdict.DIRECT
    assert longest_match(table, "10.0.0.1") is Verdict.UNKNOWN


def test_a_direct_proxy_is_decided_in_user_space() -> None:
    assert verdict_of("some-direct-proxy") is Verdict.UNKNOWN
    assert verdict_of("REJECT") is Verdict.UNKNOWN


def test_masks_of_a_list() -> None:
    lines = ("IP-CIDR,10.0.0.0/8,DIRECT", "DST-PORT,22,REJECT", "DST-PORT,23,REJECT")
    rules = [parse_rule(line) for line in (*lines, "SRC-PORT,1,REJECT", "MATCH,DIRECT")]
    both = fields.DST_ADDR | fields.DST_PORT
    assert masks(rules, RULE, names_observed=True) == (fields.DST_ADDR, both)


def test_what_depends_on_nothing_is_cached_by_the_network() -> None:
    for line, cached in (("MATCH,group", (fields.NETWORK,)), ("MATCH,DIRECT", ())):
        rules = [parse_rule(line)]
        assert masks(rules, RULE, names_observed=False, conditional={"group"}) == cached


def test_masks_know_of_rules_that_no_steered_flow_meets() -> None:
    rules = [parse_rule("DOMAIN,a.example,group"), parse_rule("IP-CIDR,10.0.0.0/8,group")]
    both = fields.NETWORK | fields.DST_ADDR
    assert both in masks(rules, RULE, names_observed=False, conditional={"group"})
