"""One choice at a time, and everything else follows from it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from support.flows import metadata
from support.loopback import RelayRig
from support.proxies import built

from mihomo_tproxy.config.specs.base import ProxySpec
from mihomo_tproxy.config.specs.group import GroupSpec, GroupType
from mihomo_tproxy.model.enums import Verdict
from mihomo_tproxy.model.group_state import GroupState

if TYPE_CHECKING:
    from mihomo_tproxy.outbound.registry import OutboundRegistry

MEMBERS = ("REJECT", "DIRECT", "PASS", "no-udp", "REJECT-DROP")


@pytest.fixture(params=[GroupType.SELECT, GroupType.URL_TEST, GroupType.FALLBACK])
def outbounds(request):
    with RelayRig() as rig:
        yield built(
            rig,
            ProxySpec("no-udp", "direct", udp=False),
            groups=(
                GroupSpec("g", request.param, MEMBERS),
                GroupSpec("deaf", GroupType.SELECT, ("g",), disable_udp=True),
            ),
        )


def choose(outbounds: OutboundRegistry, member: str) -> SimpleNamespace:
    outbounds.regroup(GroupState({"g": member}, {}))
    group = outbounds["g"]
    return SimpleNamespace(
        pick=group.pick(metadata()).name,
        verdict=group.verdict,
        udp=group.udp,
        passes=group.passes,
    )


@pytest.mark.parametrize(
    ("member", "verdict", "udp", "passes"),
    [
        ("REJECT", Verdict.UNKNOWN, True, False),
        ("DIRECT", Verdict.DIRECT, True, False),
        ("PASS", Verdict.UNKNOWN, True, True),
        ("no-udp", Verdict.UNKNOWN, False, False),
        ("REJECT-DROP", Verdict.DROP, True, False),
    ],
)
def test_what_the_choice_is_the_group_is(outbounds, member, verdict, udp, passes):
    expected = SimpleNamespace(pick=member, verdict=verdict, udp=udp, passes=passes)
    assert choose(outbounds, member) == expected
    deaf = outbounds["deaf"]
    assert (deaf.pick(None).name, deaf.verdict, deaf.udp, deaf.passes) == (
        *(member, verdict, False, passes),
    )


def test_without_a_choice_or_with_a_strangers_it_is_the_first(outbounds):
    assert outbounds["g"].pick(metadata()).name == "REJECT"
    assert choose(outbounds, "DIRECT").pick == "DIRECT"
    assert choose(outbounds, "deaf").pick == "REJECT"
    outbounds.regroup(GroupState({"g": "DIRECT"}, {}))
    outbounds.regroup(GroupState({}, {}))
    assert outbounds["g"].pick(metadata()).name == "REJECT"


def test_the_default_selected():
    with RelayRig() as rig:
        spec = GroupSpec("g", GroupType.SELECT, ("DIRECT", "REJECT"), default_selected="REJECT")
        assert built(rig, groups=(spec,))["g"].pick(None).name == "REJECT"
