"""Where a flow went follows from the counters alone."""

from __future__ import annotations

import pytest

from mihomo_tproxy.dataplane.abi import CLIENT_ROUTES, Count, Route
from mihomo_tproxy.demo.counters import difference, prove
from mihomo_tproxy.demo.scenario import CASES, Case, Way
from mihomo_tproxy.model.enums import Network

NOTHING = Count(0, 0, 0)
FLOW = Count(5, 500, 1)
BYTES = Count(100, 1_000_000, 0)


def routes(**counted):
    found = dict.fromkeys(list(Route)[:CLIENT_ROUTES], NOTHING)
    return found | {Route[name.upper()]: count for name, count in counted.items()}


def case(counter="", growth=1):
    return Case("x", 0, Network.TCP, 1, 80, 1, Way.LOST, counter=counter, growth=growth)


@pytest.mark.parametrize(
    ("asked", "counted", "growth", "way", "text"),
    [
        (case(), routes(kernel=FLOW, down_kernel=BYTES), 0, Way.KERNEL, "1.0 MB forwarded"),
        (case(), routes(drop=Count(1, 60, 1)), 0, Way.BLOCKED, "1 packet dropped"),
        (case(), routes(drop=Count(3, 180, 1)), 0, Way.BLOCKED, "3 packets dropped"),
        (case("spliced-bytes", 10), routes(relay=FLOW), 2000, Way.SPLICE, "2.0 kB spliced"),
        (case("opened:tcp:REJECT"), routes(relay=FLOW), 1, Way.BLOCKED, "1 flow refused"),
        (case("opened:udp:DIRECT"), routes(relay=FLOW, down_relay=BYTES), 1, Way.RELAY,
         "1.0 MB relayed"),
        (case(), routes(), 0, Way.LOST, "no new flow"),
        # Packets that belong to an earlier flow prove nothing.
        (case(), routes(kernel=BYTES), 0, Way.LOST, "no new flow"),
    ],
)  # fmt: skip
def test_the_way(asked, counted, growth, way, text):
    assert prove(asked, counted, growth) == (way, text)


@pytest.mark.parametrize("counter", ["spliced-bytes", "opened:tcp:REJECT"])
def test_the_relay_alone_is_not_proof_of_what_it_did(counter):
    proof = prove(case(counter, 10), routes(relay=FLOW), 9)
    assert proof.way is Way.RELAY
    assert f"{counter} +9" in proof.counted


def test_a_flow_that_went_both_ways_was_not_the_kernels():
    assert prove(case("opened:tcp:x"), routes(kernel=FLOW, relay=FLOW), 1).way is Way.RELAY


def test_difference():
    before, after = routes(kernel=Count(1, 10, 1)), routes(kernel=Count(4, 50, 2))
    assert difference(after, before) == routes(kernel=Count(3, 40, 1))


def test_the_cases_of_a_family_do_not_share_a_counter_of_the_worker():
    counters = [each.counter for each in CASES if each.counter]
    assert len(counters) == len(set(counters))
