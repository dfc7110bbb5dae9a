"""Explanations: they say what the tunnel does, and what the kernel holds."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mihomo_tproxy.config import parse
from mihomo_tproxy.config.compiling import conditional_targets
from mihomo_tproxy.errors import NeedsAddress
from mihomo_tproxy.explain import Basis, Passed, RuleText, Step, prefix_text, words_of
from mihomo_tproxy.model import fields
from mihomo_tproxy.model.address import V4_BITS, address_key
from mihomo_tproxy.model.enums import InboundType, Network
from mihomo_tproxy.model.group_state import EMPTY_STATE, GroupState
from mihomo_tproxy.model.metadata import Metadata, RequestMetadata
from mihomo_tproxy.net.pipes import PipePool
from mihomo_tproxy.net.reactor import Reactor
from mihomo_tproxy.net.relay import RelayContext, Timeouts
from mihomo_tproxy.net.resolve import SystemResolver
from mihomo_tproxy.net.tracker import Tracker
from mihomo_tproxy.outbound.env import OutboundEnv
from mihomo_tproxy.outbound.factory import build_outbounds
from mihomo_tproxy.tunnel.tunnel import choose

TCP, UDP = Network.TCP, Network.UDP
PROXIES = """
proxies:
  - {name: a, type: socks5, server: 192.0.2.1, port: 1, udp: true, dialer-proxy: Best}
  - {name: w, type: http, server: 192.0.2.1, port: 2}
  - {name: d, type: direct, routing-mark: 7}
  - {name: plain, type: direct}
proxy-groups:
  - {name: Pick, type: select, proxies: [Best, w, DIRECT, PASS]}
  - {name: Best, type: url-test, proxies: [w, d]}
  - {name: First, type: fallback, proxies: [w, a]}
  - {name: Hash, type: load-balance, proxies: [a, a]}
  - {name: Users, type: load-balance, proxies: [a], strategy: sticky-sessions, hash-key: in-user}
  - {name: Round, type: load-balance, proxies: [a, w], strategy: round-robin}
"""


@pytest.fixture
def make():
    """`make(rules, ...)`: the basis of a file with these rules."""
    loop = asyncio.new_event_loop()
    reactor, pipes = Reactor(loop), PipePool()

    def build(rules, more="", state=EMPTY_STATE):
        config = parse(f"{PROXIES}{more}\nrules: {rules!r}")
        context = RelayContext(reactor, pipes, Tracker(), Timeouts())
        env = OutboundEnv(context, SystemResolver(loop, config.hosts), None)
        outbounds = build_outbounds(config.proxies, env, config.groups, state)
        return Basis(config, state, outbounds)

    yield build
    reactor.close()
    pipes.close()
    loop.close()


def steered(destination="192.0.2.9", port=443, network=TCP, source="198.51.100.1"):
    return Metadata(network, InboundType.TPROXY, source, 50000, destination, port)


def named(host, network=TCP):
    return RequestMetadata(network, InboundType.SOCKS5, "198.51.100.1", 50000, "", 443, host)


def test_the_deciding_rule(make):
    found = make(["DST-PORT,80,REJECT", "DST-PORT,443,d", "MATCH,DIRECT"]).explain(steered())
    assert found.rule == RuleText(2, "DST-PORT,443,d", "")
    assert (found.target, found.outbound, found.type) == ("d", "d", "direct")
    assert found.depends == ("destination port",)
    assert (found.passed, found.groups, found.resolved) == ((), (), None)


def test_no_rule(make):
    found = make(["DST-PORT,80,REJECT"]).explain(steered())
    assert (found.rule, found.outbound, found.type) == (None, "DIRECT", "built in")


def test_a_rule_in_a_set_is_named(make):
    providers = (
        "rule-providers: {s: {type: inline, behavior: classical,"
        " payload: ['DST-PORT,80', 'DST-PORT,443']}}"
    )
    found = make(["RULE-SET,s,w"], providers).explain(steered())
    assert found.rule == RuleText(1, "RULE-SET,s,w", "DST-PORT,443,w")


def test_rules_that_are_passed_over(make):
    rules = ["DST-PORT,443,PASS", "IP-CIDR,192.0.2.0/24,w", "NETWORK,udp,Pick", "MATCH,DIRECT"]
    found = make(rules).explain(steered(network=UDP))
    assert found.passed == (
        Passed(RuleText(1, "DST-PORT,443,PASS", ""), "PASS", "PASS has the next rules asked"),
        Passed(RuleText(2, "IP-CIDR,192.0.2.0/24,w", ""), "w", "w takes no datagrams"),
        Passed(RuleText(3, "NETWORK,udp,Pick", ""), "Pick", "w takes no datagrams"),
    )
    assert found.rule == RuleText(4, "MATCH,DIRECT", "")


def test_all_rules_may_be_passed_over(make):
    found = make(["DST-PORT,443,PASS", "MATCH,PASS"]).explain(steered())
    assert [passed.rule.number for passed in found.passed] == [1, 2]
    assert (found.rule, found.outbound) == (None, "DIRECT")


def test_a_choice_that_passed_a_flow_on_holds_until_it_changes(make):
    basis = make(["DST-PORT,443,Pick", "MATCH,DIRECT"], state=GroupState({"Pick": "PASS"}, {}))
    found = basis.explain(steered())
    assert found.passed[0].reason == "PASS has the next rules asked"
    assert found.held is True


def test_names_are_resolved_where_a_rule_asks(make):
    basis = make(["DOMAIN,a.test,w", "IP-CIDR,192.0.2.0/24,d", "MATCH,DIRECT"])
    assert basis.explain(named("a.test")).resolved is None
    flow = named("b.test")
    with pytest.raises(NeedsAddress):
        basis.explain(flow)
    flow.resolved = "192.0.2.3"
    found = basis.explain(flow)
    assert (found.rule.number, found.resolved) == (2, "192.0.2.3")
    assert found.depends == ("destination address", "network", "name")
    nowhere = named("b.test")
    nowhere.resolved = ""
    assert (basis.explain(nowhere).rule.number, basis.explain(nowhere).resolved) == (3, "")


def test_passed_rules_of_a_name_with_an_address(make):
    basis = make(["IP-CIDR,192.0.2.0/24,w", "DOMAIN,b.test,d"])
    flow = named("b.test", UDP)
    flow.resolved = "192.0.2.3"
    found = basis.explain(flow)
    assert [passed.rule.number for passed in found.passed] == [1]
    assert found.rule.number == 2


@pytest.mark.parametrize(
    ("group", "state", "steps", "outbound"),
    [
        (
            "Pick", EMPTY_STATE,
            [("Pick", "select", "nothing is selected", "Best"),
             ("Best", "url-test", "nothing is tested", "w")], "w",
        ),
        (
            "Pick", GroupState({"Pick": "Best", "Best": "d"}, {}),
            [("Pick", "select", "selected", "Best"), ("Best", "url-test", "the fastest", "d")],
            "d",
        ),
        (
            "First", GroupState({"First": "a"}, {}),
            [("First", "fallback", "the first alive", "a")], "a",
        ),
        (
            "Hash", EMPTY_STATE,
            [("Hash", "load-balance", "by a hash of the destination", "a")], "a",
        ),
        (
            "Users", EMPTY_STATE,
            [("Users", "load-balance", "by a hash of the user", "a")], "a",
        ),
        (
            "Round", GroupState({}, {"Round": frozenset({"w"})}),
            [("Round", "load-balance", "one after the other", "")], "a",
        ),
    ],
)  # fmt: skip
def test_the_way_through_groups(make, group, state, steps, outbound):
    found = make([f"MATCH,{group}"], state=state).explain(steered())
    assert list(found.groups) == [Step(*step) for step in steps]
    assert found.outbound == outbound


def test_how_the_server_is_reached(make):
    assert make(["MATCH,a"]).explain(steered()).dialers == ("w",)
    assert make(["MATCH,w"]).explain(steered()).dialers == ()


@pytest.mark.parametrize(
    ("rules", "held", "kernel"),
    [
        (
            ["IP-CIDR,192.0.2.0/28,DIRECT", "DST-PORT,1,w", "MATCH,w"], True,
            "forwards it from the first packet: the rules decide so for 192.0.2.0/28",
        ),
        (
            ["MATCH,REJECT-DROP"], True,
            "drops it from the first packet: the rules decide so for every address",
        ),
        (
            ["DST-PORT,443,DIRECT", "MATCH,w"], True,
            "learns it from the first flow, then forwards all of the same destination port",
        ),
        (
            ["SRC-PORT,50000,DIRECT", "MATCH,w"], False,
            "cannot hold it: it depends on the source port, so that every flow is one of its own",
        ),
        (
            ["DSCP,0,DIRECT", "MATCH,w"], False,
            "cannot hold it: it depends on the DSCP, which no packet shows",
        ),
        (
            ["IP-CIDR,192.0.2.0/24,plain", "MATCH,DIRECT"], True,
            "learns it from the first flow, then forwards all of the same destination address",
        ),
        (["MATCH,w"], False, "is not told: w is a proxy, the relay carries the flow"),
        (["MATCH,REJECT"], False, "is not told: the relay answers the client"),
        (["MATCH,Hash"], False, "is not told: Hash decides for each flow anew"),
        (
            ["MATCH,d"], False,
            "is not told: d has options of its own, which the relay carries out",
        ),
    ],
)  # fmt: skip
def test_what_the_kernel_holds(make, rules, held, kernel):
    found = make(rules).explain(steered())
    assert (found.held, found.kernel) == (held, kernel)


def test_a_groups_choice_may_be_learnt(make):
    basis = make(["DST-PORT,443,Pick"], state=GroupState({"Pick": "DIRECT"}, {}))
    found = basis.explain(steered())
    assert found.held
    assert found.kernel.startswith("learns it from the first flow, then forwards all of the same")


@pytest.mark.parametrize(
    ("more", "flow", "why"),
    [
        ("", steered("192.168.1.1"), "the address is private (gateway.bypass-private)"),
        ("", steered("224.0.0.1"), "the address is not routable"),
        ("gateway: {bypass: [192.0.2.0/24]}", steered(), "the address is in gateway.bypass"),
        (
            "gateway: {clients: {exclude: [198.51.100.0/24]}}", steered(),
            "the client is in gateway.clients.exclude",
        ),
        (
            "gateway: {clients: {include: [198.51.100.9]}}", steered(),
            "the client is not in gateway.clients.include",
        ),
        ("ipv6: false", steered("2001:db8::1"), "ipv6 is false"),
    ],
)  # fmt: skip
def test_what_is_never_steered(make, more, flow, why):
    found = make(["MATCH,w"], more).explain(flow)
    assert (found.held, found.kernel) == (True, f"forwards it without asking any rule: {why}")


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ("interface-name: eth9", "interface-name"),
        ("gateway: {verdict-cache: false}", "gateway.verdict-cache"),
    ],
)
def test_a_kernel_that_is_told_nothing(make, more, key):
    found = make(["MATCH,DIRECT"], more).explain(steered())
    assert (found.held, found.kernel) == (False, f"is told nothing, because of {key}")


def test_who_came_to_a_port_is_the_relays(make):
    found = make(["MATCH,DIRECT"]).explain(named("a.test"))
    assert found.held is False
    assert "port of ours" in found.kernel


def test_global_mode_asks_no_rule(make):
    found = make(["MATCH,w"], "mode: global").explain(steered())
    assert (found.rule, found.passed, found.depends) == (None, (), ())
    assert [step.group for step in found.groups] == ["GLOBAL"]


_RULES = st.lists(
    st.sampled_from(
        ["DST-PORT,443", "DST-PORT,53", "NETWORK,udp", "IP-CIDR,192.0.2.0/24", "SRC-PORT,50000",
         "IP-CIDR,192.0.2.8/29", "NOT,((NETWORK,tcp))"]
    ),
    max_size=5,
)  # fmt: skip
_TARGETS = st.sampled_from(["DIRECT", "REJECT-DROP", "PASS", "w", "a", "d", "Pick", "First"])


@given(data=st.data(), rules=_RULES)
def test_it_says_what_the_tunnel_does(data, rules):
    loop = asyncio.new_event_loop()
    reactor, pipes = Reactor(loop), PipePool()
    try:
        lines = [f"{rule},{data.draw(_TARGETS)}" for rule in rules]
        config = parse(f"{PROXIES}\nrules: {lines!r}")
        context = RelayContext(reactor, pipes, Tracker(), Timeouts())
        env = OutboundEnv(context, SystemResolver(loop), None)
        outbounds = build_outbounds(config.proxies, env, config.groups, EMPTY_STATE)
        basis = Basis(config, EMPTY_STATE, outbounds)
        flow = steered(port=data.draw(st.sampled_from([443, 53])), network=data.draw(NETWORKS))
        found = basis.explain(flow)
        decision, outbound, _ = choose(basis.steered, outbounds, flow)
        assert (found.target, found.outbound) == (decision.target, outbound.name)
        numbers = [passed.rule.number for passed in found.passed]
        assert numbers == sorted(set(numbers))
        assert all(passed.target in conditional_targets(config) for passed in found.passed)
        assert found.rule is None or all(number < found.rule.number for number in numbers)
    finally:
        reactor.close()
        pipes.close()
        loop.close()


NETWORKS = st.sampled_from([TCP, UDP])


def test_words():
    assert words_of(0) == ()
    assert len(words_of(fields.EVERYTHING)) == fields.EVERYTHING.bit_count()
    assert prefix_text(address_key("192.0.2.0"), V4_BITS + 24) == "192.0.2.0/24"
    assert prefix_text(address_key("2001:db8::"), 32) == "2001:db8::/32"


@pytest.mark.parametrize("rules", [["MATCH,Pick"], ["IP-CIDR,192.0.2.0/24,Pick", "MATCH,w"]])
def test_a_groups_choice_is_learnt_where_only_addresses_decide(make, rules):
    found = make(rules, state=GroupState({"Pick": "DIRECT"}, {})).explain(steered())
    assert found.held
    assert found.kernel.startswith("learns it from the first flow, then forwards all of the same")
    assert "network" in found.depends
