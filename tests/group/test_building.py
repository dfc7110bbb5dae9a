"""Groups of a whole configuration: in any order, inside each other, without circles in memory."""

from __future__ import annotations

import gc
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.flows import metadata
from support.loopback import RelayRig
from support.proxies import built

from mihomo_tproxy.config.specs.base import ProxySpec
from mihomo_tproxy.config.specs.group import GroupSpec, GroupType, Strategy
from mihomo_tproxy.config.specs.socks5 import Socks5Spec
from mihomo_tproxy.group.base import Group
from mihomo_tproxy.model.group_state import GroupState


def test_a_group_may_name_a_later_one():
    with RelayRig() as rig:
        outbounds = built(
            rig,
            groups=(
                GroupSpec("first", GroupType.SELECT, ("second",)),
                GroupSpec("second", GroupType.LOAD_BALANCE, ("third",)),
                GroupSpec("third", GroupType.FALLBACK, ("REJECT", "DIRECT")),
            ),
            state=GroupState({"third": "DIRECT"}, {}),
        )
        assert outbounds["first"].pick(None) is outbounds["DIRECT"]


def test_who_was_used_is_told_once():
    with RelayRig() as rig:
        outbounds = built(
            rig,
            groups=(
                GroupSpec("outer", GroupType.SELECT, ("inner",)),
                GroupSpec("inner", GroupType.LOAD_BALANCE, ("DIRECT",)),
                GroupSpec("other", GroupType.SELECT, ("DIRECT",)),
            ),
        )
        assert outbounds.take_used() == ()
        outbounds["outer"].pick(metadata())
        assert outbounds.take_used() == ("outer", "inner")
        assert outbounds.take_used() == ()


def test_a_taken_name_and_a_missing_member_are_errors():
    with RelayRig() as rig:
        with pytest.raises(ValueError, match="DIRECT"):
            built(rig, groups=(GroupSpec("DIRECT", GroupType.SELECT, ("REJECT",)),))
        with pytest.raises(KeyError):
            built(rig, groups=(GroupSpec("g", GroupType.SELECT, ("gone",)),))


def test_a_dialer_may_be_a_group_and_follows_its_choice():
    with RelayRig() as rig:
        outbounds = built(
            rig,
            Socks5Spec("p", "socks5", server="192.0.2.1", port=1, dialer_proxy="g"),
            Socks5Spec("a", "socks5", server="192.0.2.2", port=2),
            groups=(GroupSpec("g", GroupType.SELECT, ("DIRECT", "a")),),
        )
        assert outbounds["p"].route("x.test", 80).host == "192.0.2.1"
        outbounds.regroup(GroupState({"g": "a"}, {}))
        assert outbounds["p"].route("x.test", 80).host == "192.0.2.2"


def test_a_configuration_with_groups_is_freed_by_reference_counts():
    with RelayRig() as rig:
        gc.collect()
        gc.disable()
        try:
            outbounds = built(
                rig,
                Socks5Spec("p", "socks5", server="192.0.2.1", port=1, dialer_proxy="inner"),
                groups=(
                    GroupSpec("outer", GroupType.SELECT, ("inner", "p", "later")),
                    GroupSpec("inner", GroupType.LOAD_BALANCE, ("DIRECT", "late")),
                ),
                provided=(
                    Socks5Spec("late", "socks5", server="192.0.2.2", port=1),
                    Socks5Spec("later", "socks5", server="192.0.2.2", port=1, dialer_proxy="inner"),
                ),
            )
            outbounds["later"].pick(None)
            refs = [weakref.ref(outbound) for outbound in outbounds.values()]
            del outbounds
            assert [ref().name for ref in refs if ref() is not None] == []
        finally:
            gc.enable()


def specs(draw) -> list[GroupSpec]:
    """Random groups, each of leaves and of groups after it."""
    names = [f"g{number}" for number in range(draw(st.integers(1, 6)))]
    found = []
    for place, name in enumerate(names):
        known = ["DIRECT", "REJECT", "PASS", "lazy", *names[place + 1 :]]
        members = draw(st.lists(st.sampled_from(known), min_size=1, max_size=4))
        kind, strategy = draw(st.sampled_from(GroupType)), draw(st.sampled_from(Strategy))
        found.append(GroupSpec(name, kind, tuple(members), strategy=strategy))
    return found


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_pick_is_a_leaf_of_the_group_whatever_the_state(data):
    found = specs(data.draw)
    every = [spec.name for spec in found] + ["DIRECT", "REJECT", "PASS", "lazy", "gone"]
    words = st.sampled_from(every)
    state = GroupState(
        data.draw(st.dictionaries(words, words)),
        data.draw(st.dictionaries(words, st.frozensets(words))),
    )
    with RelayRig() as rig:
        provided = (ProxySpec("lazy", "direct"),)
        outbounds = built(rig, groups=tuple(found), state=state, provided=provided)
        leaves = {}
        for spec in reversed(found):
            leaves[spec.name] = set().union(*(leaves.get(name, {name}) for name in spec.members))
            for flow in (None, metadata(host="www.example.com"), metadata("")):
                pick = outbounds[spec.name].pick(flow)
                assert not isinstance(pick, Group)
                assert pick.pick(flow) is pick
                assert pick.name in leaves[spec.name]
