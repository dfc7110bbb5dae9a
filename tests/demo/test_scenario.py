"""The demonstration's configuration is valid, and sends each case where it says."""

from __future__ import annotations

import ipaddress

import pytest
from support.engines import engine_of

from mihomo_tproxy.config import parse
from mihomo_tproxy.config.compiling import compile_config
from mihomo_tproxy.demo.scenario import CASES, CONFIG, Answer, Way
from mihomo_tproxy.model.enums import InboundType, Network
from mihomo_tproxy.model.fields import NAMES_OBSERVED
from mihomo_tproxy.model.metadata import Metadata
from mihomo_tproxy.rig.plan import INTERNET_PREFIX

TARGETS = {
    Answer.RESET: "REJECT",
    Answer.UNREACHABLE: "REJECT",
    Answer.SILENCE: "REJECT-DROP",
}


def test_nothing_in_it_is_odd():
    assert compile_config(parse(CONFIG)).warnings == ()


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.title}-{case.network}")
def test_the_rules_say_what_the_client_must_see(case, family):
    config = parse(CONFIG)
    engine = engine_of(config.rules, config.mode, names_observed=NAMES_OBSERVED)
    destination = str(ipaddress.ip_network(INTERNET_PREFIX[family])[case.host])
    flow = Metadata(case.network, InboundType.TPROXY, "192.168.77.10", 1, destination, case.port)
    expected = TARGETS.get(case.answer, "DIRECT")
    if case.counter.endswith(":line-2"):
        expected = "line-2"
    assert engine.match(flow).target == expected


def test_every_way_is_shown_for_both_networks():
    shown = {(case.way, case.network) for case in CASES}
    assert shown >= {
        (Way.KERNEL, Network.TCP),
        (Way.KERNEL, Network.UDP),
        (Way.SPLICE, Network.TCP),
        (Way.RELAY, Network.UDP),
        (Way.BLOCKED, Network.TCP),
        (Way.BLOCKED, Network.UDP),
    }


def test_a_learnt_verdict_comes_after_the_flow_that_taught_it():
    taught = set()
    for case in CASES:
        place = (case.network, case.host, case.port)
        if case.title == "then, learnt":
            assert place in taught
        taught.add(place)
