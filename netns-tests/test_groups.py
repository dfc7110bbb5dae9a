"""Proxy groups in the running gateway: what is selected, checked and chosen carries the flows.

One gateway for all; the groups of each test have names of their own, as choices outlive a reload.
"""

from __future__ import annotations

from collections import Counter

import pytest
from support.gateway import wait_until
from support.governed import DIRECT, group
from support.tcp import ECHO, says
from support.udp import open_socket

from mihomo_tproxy.errors import GatewayError

SLOW_S = 0.3
FIXED = {"interval": 3600, "lazy": False}
"""Checked at the start, and then only when something happens."""
OFTEN = {"interval": 1, "lazy": False}


# select.


def test_select(stage):
    gateway = stage.use(group("S1", "select", "a", "b", DIRECT))
    assert stage.carrier() == stage.udp_carrier() == "a"
    for name in ("b", DIRECT, "a", DIRECT, "b"):
        gateway.select("S1", name)
        assert stage.carrier() == stage.udp_carrier() == gateway.now("S1") == name


def test_select_by_the_command_line(stage):
    gateway = stage.use(group("S2", "select", "a", "b"))
    assert gateway.run("group", "S2", "b").stdout == "S2: b\n"
    assert stage.carrier() == "b"
    refused = gateway.run("group", "S2", "c", check=False)
    assert refused.returncode
    assert "'S2' has no member 'c'" in refused.stderr


def test_what_cannot_be_selected(stage):
    stage.use(group("S3", "select", "a", "b"), group("S3 balance", "load-balance", "a", "b"))
    for name, member in (("S3", "c"), ("S3", ""), ("none", "a"), ("S3 balance", "a")):
        with pytest.raises(GatewayError):
            stage.gateway.select(name, member)
    assert stage.carrier() == "a"


def test_flows_that_exist_live_on(stage):
    gateway = stage.use(group("S4", "select", "a", DIRECT))
    client, address = stage.rig.clients[0], stage.rig.destination(1)
    with client.connect(address, ECHO) as relayed, open_socket(client, 4) as datagrams:
        assert says(relayed)
        assert stage.udp_carrier_of(datagrams) == "a"
        gateway.select("S4", DIRECT)
        with client.connect(address, ECHO) as forwarded:
            assert says(forwarded)
            assert stage.carrier() == DIRECT
            gateway.select("S4", "a")
            assert stage.carrier() == "a"
            assert says(relayed)
            assert says(forwarded)
            assert stage.udp_carrier_of(datagrams) == "a"


def test_what_the_kernel_forwards_follows_a_selection(stage):
    gateway = stage.use(group("S5", "select", DIRECT, "a"))

    def ways():
        """Flows that the kernel decided by itself, and flows it asked for, of six to one place."""
        before = gateway.routes()
        assert {stage.carrier(3) for _ in range(3)} == {gateway.now("S5")}
        assert {stage.udp_carrier(3) for _ in range(3)} == {gateway.now("S5")}
        passed = gateway.since(before)
        return passed.kernel.flows, passed.relay.flows

    stage.carrier(3), stage.udp_carrier(3)
    assert ways() == (6, 0)
    gateway.select("S5", "a")
    assert ways() == (0, 6)
    gateway.select("S5", DIRECT)
    stage.carrier(3), stage.udp_carrier(3)
    assert ways() == (6, 0)


def test_groups_in_groups(stage):
    gateway = stage.use(
        group("S6", "select", "S6 inner", DIRECT),
        group("S6 inner", "select", "b", "S6 best"),
        group("S6 best", "url-test", "c", "a", **FIXED),
    )
    assert stage.carrier() == stage.udp_carrier() == "b"
    stage.proxies["c"].delay_s = SLOW_S
    gateway.ask("check-group", name="S6 best")
    gateway.wait_now("S6 best", "a")
    gateway.select("S6 inner", "S6 best")
    assert stage.carrier() == stage.udp_carrier() == "a"


def test_dialer_proxy_through_a_group(stage):
    """Who the group takes is asked to connect to the proxy, which is asked for the rest."""
    inner = stage.proxies["c"].entry(dialer_proxy="S7 way")
    entries = [stage.proxies["a"].entry(), stage.proxies["b"].entry(), inner]
    gateway = stage.use(
        group("S7", "select", "c"), group("S7 way", "select", "a", "b"), proxies=entries
    )
    asked = (stage.proxies["c"].address, stage.proxies["c"].port)
    for name in ("a", "b"):
        gateway.select("S7 way", name)
        before = stage.proxies[name].asked.count(asked)
        assert stage.carrier() == "c"
        assert stage.proxies[name].asked.count(asked) == before + 1


def test_disable_udp(stage):
    stage.use(group("S8", "select", "a", disable_udp=True), rules=["MATCH,S8", "MATCH,DIRECT"])
    assert stage.carrier() == "a"
    assert stage.udp_carrier() == DIRECT


# url-test and fallback.


def test_url_test_takes_the_fastest(stage):
    stage.proxies["a"].delay_s = stage.proxies["b"].delay_s = SLOW_S
    gateway = stage.use(group("U1", "url-test", "a", "b", "c", **FIXED))
    gateway.wait_now("U1", "c")
    assert stage.carrier() == stage.udp_carrier() == "c"
    delays = gateway.ask("check-group", name="U1")["delays"]
    assert delays["a"] >= SLOW_S * 1000 > delays["c"]


def test_tolerance(stage):
    stage.proxies["a"].delay_s = SLOW_S
    gateway = stage.use(
        group("U2", "url-test", "a", "b", tolerance=60_000, **FIXED),
        group("U2 sharp", "url-test", "a", "b", **FIXED),
    )
    gateway.ask("check-group", name="U2")
    gateway.ask("check-group", name="U2 sharp")
    gateway.wait_now("U2 sharp", "b")
    stage.proxies["a"].delay_s, stage.proxies["b"].delay_s = 0.0, SLOW_S
    before = gateway.now("U2")
    for name in ("U2", "U2 sharp"):
        gateway.ask("check-group", name=name)
    gateway.wait_now("U2 sharp", "a")
    assert gateway.now("U2") == before


def test_a_member_that_dies_is_left_at_the_next_check(stage):
    stage.proxies["b"].delay_s = SLOW_S
    gateway = stage.use(group("U3", "url-test", "a", "b", **OFTEN))
    gateway.wait_now("U3", "a")
    stage.proxies["a"].alive = False
    gateway.wait_now("U3", "b")
    assert stage.carrier() == "b"
    stage.proxies["a"].alive = True
    gateway.wait_now("U3", "a")


def test_flows_that_fail_cause_a_check(stage):
    stage.proxies["b"].delay_s = SLOW_S
    gateway = stage.use(group("U4", "url-test", "a", "b", max_failed_times=2, **FIXED))
    gateway.ask("check-group", name="U4")
    gateway.wait_now("U4", "a")
    stage.proxies["a"].alive = False
    for _ in range(2):
        assert stage.blocked()
    gateway.wait_now("U4", "b")
    assert stage.carrier() == "b"


def test_fallback_takes_the_first_that_is_alive(stage):
    stage.proxies["a"].delay_s = SLOW_S
    gateway = stage.use(group("F1", "fallback", "a", "b", "c", **OFTEN))
    gateway.ask("check-group", name="F1")
    gateway.wait_now("F1", "a")
    assert stage.carrier() == "a"
    stage.proxies["a"].alive = stage.proxies["b"].alive = False
    gateway.wait_now("F1", "c")
    assert stage.carrier() == "c"
    stage.proxies["a"].alive = True
    gateway.wait_now("F1", "a")
    assert stage.carrier() == "a"


@pytest.mark.parametrize("kind", ["url-test", "fallback"])
def test_one_that_is_fixed_stays_while_it_is_alive(stage, kind):
    """As in mihomo: url-test comes back to it, fallback forgets it when it dies."""
    name = f"F2 {kind}"
    stage.proxies["b"].delay_s = SLOW_S
    gateway = stage.use(group(name, kind, "a", "b", **OFTEN))
    gateway.ask("check-group", name=name)
    gateway.wait_now(name, "a")
    gateway.select(name, "b")
    assert stage.carrier() == "b"
    stage.proxies["b"].alive = False
    gateway.wait_now(name, "a")
    stage.proxies["b"].alive = True
    if kind == "url-test":
        gateway.wait_now(name, "b")
        gateway.select(name, "")
        gateway.wait_now(name, "a")
    else:
        gateway.select(name, "b")
        gateway.ask("check", name="b", url=stage.check_url)
        assert gateway.now(name) == stage.carrier() == "b"


# load-balance.


def balance(name, strategy, **options):
    return group(name, "load-balance", "a", "b", "c", strategy=strategy, **{**OFTEN, **options})


def test_round_robin(stage):
    stage.use(balance("B1", "round-robin", **FIXED))
    assert Counter(stage.carriers(6)) == {"a": 2, "b": 2, "c": 2}


@pytest.mark.parametrize("strategy", ["consistent-hashing", "sticky-sessions"])
def test_hashing_spreads_places_and_keeps_each(stage, strategy):
    stage.use(balance(f"B2 {strategy}", strategy, **FIXED))
    first = stage.carriers(12)
    assert {*first} == {"a", "b", "c"}
    assert stage.carriers(12) == first


@pytest.mark.parametrize("strategy", ["round-robin", "consistent-hashing", "sticky-sessions"])
def test_the_dead_are_left_out(stage, strategy):
    name = f"B3 {strategy}"
    gateway = stage.use(balance(name, strategy))
    before = stage.carriers(12)
    stage.proxies["b"].alive = False
    wait_until(lambda: gateway.group(name)["dead"] == ["b"], "b is dead")
    after = stage.carriers(12)
    assert {*after} == {"a", "c"}
    if strategy != "round-robin":
        moved = [
            place for place, (old, new) in enumerate(zip(before, after, strict=True)) if old != new
        ]
        assert all(before[place] == "b" for place in moved)
    stage.proxies["b"].alive = True
    wait_until(lambda: not gateway.group(name)["dead"], "b is back")


# Health checks.


def test_expected_status(stage):
    url = stage.web.put("/503", status=503)
    gateway = stage.use(
        group("H1", "fallback", "a", DIRECT, url=url, expected_status="204", **FIXED),
        group("H1 any", "fallback", "a", "b", url=url, **FIXED),
        group("H1 range", "fallback", "a", "b", url=url, expected_status="200/500-599", **FIXED),
    )
    gateway.wait_checked("a", "b", DIRECT)
    assert [gateway.now(name) for name in ("H1", "H1 any", "H1 range")] == ["a", "a", "a"]
    # Nobody is as expected: the first of all.
    stage.web.put("/503", status=204)
    gateway.ask("check-group", name="H1 range")
    gateway.wait_now("H1 range", "a")


def test_https(stage):
    """The target's certificate is verified, as a browser would."""
    gateway = stage.use(
        group("H5", "fallback", "a", "b", url=stage.secure.url("/204"), **FIXED),
        group("H5 strange", "url-test", "a", url=stage.strange.url("/204"), **FIXED),
    )
    assert all(gateway.ask("check-group", name="H5")["delays"].values())
    assert stage.secure.requests("/204")
    assert gateway.ask("check-group", name="H5 strange")["delays"] == {"a": 0}
    assert not stage.strange.requests("/204")


def test_a_lazy_group_is_checked_when_it_is_used(stage):
    path = "/lazy"
    url = stage.web.put(path, status=204)
    stage.use(
        group("H2", "select", DIRECT, "H2 lazy"),
        group("H2 lazy", "url-test", "a", "b", url=url, interval=1, lazy=True),
        group("H2 eager", "url-test", "a", "b", url=stage.web.put("/eager"), **OFTEN),
    )

    def wait_for_eager(more):
        seen = len(stage.web.requests("/eager"))
        wait_until(lambda: len(stage.web.requests("/eager")) >= seen + more, "eager checks")

    wait_for_eager(2)
    before = len(stage.web.requests(path))
    wait_for_eager(6)
    assert len(stage.web.requests(path)) - before <= 2
    stage.gateway.select("H2", "H2 lazy")
    seen = len(stage.web.requests(path))
    assert stage.carrier() in ("a", "b")
    wait_until(lambda: len(stage.web.requests(path)) > seen, "a check")


def test_unified_delay_leaves_handshakes_out(stage):
    stage.proxies["a"].delay_s = SLOW_S
    for unified, low, high in ((False, SLOW_S * 1000, 10_000), (True, 0, SLOW_S * 1000)):
        name = f"H3 {unified}"
        gateway = stage.use(group(name, "url-test", "a", "b", **FIXED), unified_delay=unified)
        assert low <= gateway.ask("check", name="a")["delay"] <= high


def test_check_without_any_group_that_is_checked(stage):
    """Nothing needs checks or downloads; who asks gets an answer nevertheless."""
    gateway = stage.use(group("H4", "select", "a", "b"))
    assert gateway.ask("check", name="a", url=stage.check_url)["status"] == 204
    stage.proxies["b"].alive = False
    with pytest.raises(GatewayError):
        gateway.ask("check", name="b", url=stage.check_url)
    with pytest.raises(GatewayError):
        gateway.ask("check", name="nobody")
