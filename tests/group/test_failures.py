"""Groups that fail too often are noticed once, from what their members' flows counted."""

from __future__ import annotations

from mihomo_tproxy.config.specs.group import GroupSpec, GroupType
from mihomo_tproxy.group.failures import FailureWatch
from mihomo_tproxy.model.enums import Network
from mihomo_tproxy.net.tracker import Tracker

SPECS = (
    GroupSpec("fast", GroupType.URL_TEST, ("a", "inner"), max_failed_times=3, timeout_ms=5000),
    GroupSpec("inner", GroupType.FALLBACK, ("b", "c"), max_failed_times=5, timeout_ms=5000),
    GroupSpec("own", GroupType.SELECT, ("a", "d"), max_failed_times=1),
)


def fail(tracker: Tracker, name: str, times: int = 1, network: Network = Network.TCP) -> None:
    tracker.traffic(name, network).failed += times


def test_enough_failures_in_time_are_noticed_once() -> None:
    tracker = Tracker()
    watch = FailureWatch(SPECS, tracker)
    fail(tracker, "a", 2)
    assert watch.look(0.0) == set()
    fail(tracker, "a")
    assert watch.look(1.0) == {"fast"}
    assert watch.look(2.0) == set()


def test_old_failures_do_not_count() -> None:
    tracker = Tracker()
    watch = FailureWatch(SPECS, tracker)
    fail(tracker, "a", 2)
    watch.look(0.0)
    fail(tracker, "a")
    assert watch.look(5.1) == set()


def test_members_of_members_count_at_every_level() -> None:
    tracker = Tracker()
    watch = FailureWatch(SPECS, tracker)
    fail(tracker, "b", 3)
    assert watch.look(0.0) == {"fast"}
    fail(tracker, "c", 2)
    assert watch.look(1.0) == {"inner"}


def test_what_failed_before_and_who_is_no_member_is_nothing_new() -> None:
    tracker = Tracker()
    fail(tracker, "a", 9)
    watch = FailureWatch(SPECS, tracker)
    fail(tracker, "stranger", 9)
    fail(tracker, "b", 9, Network.UDP)
    fail(tracker, "d", 9)
    assert watch.look(0.0) == set()
