"""Strategies of load-balance: whom they pick, who is left out, what they remember."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from support.flows import metadata

from mihomo_tproxy.config.specs.group import GroupSpec, GroupType, Strategy
from mihomo_tproxy.group import balance
from mihomo_tproxy.group.balance import STICKY_S, Balance
from mihomo_tproxy.model.enums import InboundType, Network, Verdict
from mihomo_tproxy.model.group_state import EMPTY_STATE, GroupState
from mihomo_tproxy.model.metadata import RequestMetadata
from mihomo_tproxy.outbound.base import Leaf

NAMES = ("a", "b", "c", "d")
FLOWS = [metadata("192.0.2.7", host=f"www.site-{number}.example") for number in range(200)]
OTHERS = [metadata("192.0.2.7", host=f"other-{number}.example") for number in range(200)]


class Member(Leaf):
    def __init__(self, name):
        self.name = name


def group(strategy: Strategy, **options) -> Balance:
    spec = GroupSpec("lb", GroupType.LOAD_BALANCE, NAMES, strategy=strategy, **options)
    made = Balance(spec, SimpleNamespace(now=1000.0))
    made.fill([Member(name) for name in NAMES])
    return made


def bury(made: Balance, *names: str) -> None:
    made.apply(GroupState({}, {"lb": frozenset(names)}))


def picks(made: Balance, flows=FLOWS) -> list[str]:
    return [made.pick(flow).name for flow in flows]


def user_flow(user: str, host: str) -> RequestMetadata:
    flow = RequestMetadata(Network.TCP, InboundType.SOCKS5, "10.0.0.1", 1, "", 443, host)
    flow.inbound_user = user
    return flow


@pytest.mark.parametrize("strategy", Strategy)
def test_every_member_gets_flows_and_no_dead_one_does(strategy):
    made = group(strategy)
    assert set(picks(made)) == set(NAMES)
    bury(made, "a", "c")
    assert set(picks(made)) == {"b", "d"}
    bury(made, *NAMES)
    assert set(picks(made)) == {"a"}
    made.apply(EMPTY_STATE)
    assert set(picks(made, OTHERS)) == set(NAMES)


@pytest.mark.parametrize("strategy", Strategy)
def test_what_it_says_of_itself(strategy):
    made = group(strategy)
    assert (made.verdict, made.udp, made.passes) == (Verdict.UNKNOWN, True, False)
    assert not group(strategy, disable_udp=True).udp
    assert made.pick(None).name in NAMES


def test_round_robin_takes_turns():
    made = group(Strategy.ROUND_ROBIN)
    assert sorted(picks(made, FLOWS[:4])) == list(NAMES)
    assert picks(made, FLOWS[:4]) == picks(made, FLOWS[:4])
    bury(made, "b")
    assert sorted(picks(made, FLOWS[:3])) == ["a", "c", "d"]


def test_consistent_hashing_is_by_site():
    made = group(Strategy.CONSISTENT_HASHING)
    before = picks(made)
    assert picks(made) == before
    for flow in FLOWS[:50]:
        other = metadata("203.0.113.9", 80, host="cdn." + flow.host, source="10.9.9.9")
        assert made.pick(other) is made.pick(flow)
    bury(made, "b")
    after = picks(made)
    assert all(new == old for old, new in zip(before, after, strict=True) if old != "b")
    made.apply(EMPTY_STATE)
    assert picks(made) == before


def test_a_user_stays_with_one_member_and_others_go_by_site():
    for strategy in (Strategy.CONSISTENT_HASHING, Strategy.STICKY_SESSIONS):
        made = group(strategy, hash_user=True)
        hosts = [flow.host for flow in FLOWS]
        assert len({made.pick(user_flow("alice", host)).name for host in hosts}) == 1
        assert len({made.pick(user_flow(f"user-{n}", "x.test")).name for n in range(50)}) > 1
        assert len({made.pick(user_flow("", host)).name for host in hosts}) > 1


def test_sticky_tells_clients_apart():
    made = group(Strategy.STICKY_SESSIONS)
    clients = [metadata(source=f"10.0.0.{number}") for number in range(100)]
    before = picks(made, clients)
    assert set(before) == set(NAMES)
    assert picks(made, clients) == before


def test_a_pair_stays_with_its_new_member_for_a_while():
    made = group(Strategy.STICKY_SESSIONS)
    before = picks(made)
    bury(made, "b")
    moved = picks(made)
    assert all(new == old for old, new in zip(before, moved, strict=True) if old != "b")
    made.apply(EMPTY_STATE)
    assert picks(made) == moved
    made._clock.now += STICKY_S - 1
    assert picks(made) == moved
    made._clock.now += 2
    assert picks(made) == before


def test_a_new_member_that_dies_is_replaced():
    made = group(Strategy.STICKY_SESSIONS)
    flow = next(flow for flow in FLOWS if made.pick(flow).name == "b")
    bury(made, "b")
    second = made.pick(flow).name
    bury(made, "b", second)
    third = made.pick(flow).name
    assert third not in ("b", second)
    bury(made, "b")
    assert made.pick(flow).name == third


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(balance, "STICKY_PAIRS", 10)
    made = group(Strategy.STICKY_SESSIONS)
    bury(made, "a", "b", "c")
    assert set(picks(made)) == {"d"}
    assert len(made._moved) == 10
