"""Static verdicts: a longest-prefix-match look-up never contradicts the engine."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from support.engines import engine_of
from support.flows import ADDRESSES, address_rule_lines, flows, rule_lines

from mihomo_tproxy.matcher.cidr import masked
from mihomo_tproxy.model import fields
from mihomo_tproxy.model.address import V4_MAPPED, address_key
from mihomo_tproxy.model.enums import TunnelMode, Verdict
from mihomo_tproxy.rule.registry import parse_rule
from mihomo_tproxy.rule.static import StaticVerdict, masks, static_prefixes, verdict_of

if TYPE_CHECKING:
    from mihomo_tproxy.model.metadata import Metadata

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
        found = longest_match(table, flow.destination)
        # Where the table has nothing, user space decides.
        assert (found or Verdict.PROXY) == verdict_of(decision.target)


@PROFILE
@given(rule_lines(), flows(named=False), st.booleans())
def test_masks_hold_every_cacheable_depends(
    lines: list[str], flow: Metadata, names_observed: bool
) -> None:
    rules = [parse_rule(line) for line in lines]
    if not names_observed:
        flow.host = ""
    found = masks(rules, RULE, names_observed=names_observed)
    depends = engine_of(rules, names_observed=names_observed).match(flow).depends
    uncacheable = fields.SRC_PORT | fields.DOMAIN | fields.INBOUND
    assert (depends in found) == bool(depends and not depends & uncacheable)
    for smaller, larger in pairwise(found):
        assert smaller & larger == smaller != larger


def test_earlier_rule_wins_over_a_longer_one() -> None:
    table = table_of("IP-CIDR,10.0.0.0/8,DIRECT", "IP-CIDR,10.1.0.0/16,REJECT-DROP", "MATCH,out")
    assert longest_match(table, "10.1.0.1") is Verdict.DIRECT
    assert longest_match(table, "11.0.0.1") is Verdict.PROXY
    assert len(table) == 2


def test_user_space_prefix_holds_a_later_shorter_direct_off() -> None:
    table = table_of("IP-CIDR,10.1.0.0/16,REJECT", "IP-CIDR,10.0.0.0/8,DIRECT", "MATCH,REJECT-DROP")
    assert longest_match(table, "10.1.0.1") is Verdict.PROXY
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
    for mode, verdict in (
        (TunnelMode.DIRECT, Verdict.DIRECT),
        (TunnelMode.GLOBAL, Verdict.PROXY),
    ):
        table = static_prefixes(rules, mode, names_observed=True)
        assert table == [StaticVerdict(0, 0, verdict)]
        assert masks(rules, mode, names_observed=True) == ()


def test_limit_keeps_what_comes_first() -> None:
    lines = ("IP-CIDR,12.0.0.0/8,DIRECT", "IP-CIDR,10.0.0.0/8,DIRECT", "MATCH,out")
    table = table_of(*lines, limit=1)
    assert longest_match(table, "12.0.0.1") is Verdict.DIRECT
    assert longest_match(table, "10.0.0.1") is Verdict.UNKNOWN


def test_a_limit_leaves_no_verdict_around_what_it_left_out() -> None:
    lines = ("IP-CIDR,10.0.0.0/8,out", "IP-CIDR,12.0.0.0/8,REJECT-DROP", "MATCH,DIRECT")
    table = table_of(*lines, limit=1)
    assert longest_match(table, "10.0.0.1") is Verdict.PROXY
    for address in ("12.0.0.1", "11.0.0.1"):
        assert longest_match(table, address) is Verdict.UNKNOWN


def test_what_user_space_decides_anyway_takes_no_place() -> None:
    table = table_of("IP-CIDR,10.0.0.0/8,out", "IP-CIDR,12.0.0.0/8,DIRECT", "MATCH,REJECT")
    assert table == [
        StaticVerdict(V4_MAPPED | 12 << 24, 104, Verdict.DIRECT),
        StaticVerdict(0, 0, Verdict.PROXY),
    ]


def test_neighbours_of_one_verdict_are_one_prefix() -> None:
    lines = ("IP-CIDR,10.0.0.0/8,DIRECT", "IP-CIDR,11.0.0.0/8,DIRECT", "DST-PORT,22,out")
    assert table_of(*lines) == [StaticVerdict(V4_MAPPED | 10 << 24, 103, Verdict.DIRECT)]


def test_a_direct_proxy_is_decided_in_user_space() -> None:
    assert verdict_of("some-direct-proxy") is Verdict.PROXY
    assert verdict_of("REJECT") is Verdict.PROXY


def test_masks_of_a_list() -> None:
    lines = ("IP-CIDR,10.0.0.0/8,DIRECT", "DST-PORT,22,REJECT", "DST-PORT,23,REJECT")
    rules = [parse_rule(line) for line in (*lines, "SRC-PORT,1,REJECT", "MATCH,DIRECT")]
    both = fields.DST_ADDR | fields.DST_PORT
    assert masks(rules, RULE, names_observed=True) == (fields.DST_ADDR, both)


def test_a_group_is_left_to_what_user_space_learns() -> None:
    """Its choice may be DIRECT; what was learnt is void when it changes."""
    rules = [parse_rule(line) for line in ("IP-CIDR,192.0.2.0/24,group", "MATCH,group")]
    table = static_prefixes(rules, RULE, names_observed=True, conditional={"group"})
    assert table == [StaticVerdict(0, 0, Verdict.UNKNOWN)]
    found = masks(rules, RULE, names_observed=True, conditional={"group"})
    assert found == (fields.DST_ADDR | fields.NETWORK,)


def test_a_group_for_all_is_learnt_by_network() -> None:
    rules = [parse_rule("MATCH,group")]
    assert masks(rules, RULE, names_observed=True, conditional={"group"}) == (fields.NETWORK,)
