"""What the supervisor knows of groups, and who it lets wait for the keeper."""

from __future__ import annotations

import json
import socket

import pytest

from mihomo_tproxy.config.specs.group import GroupSpec, GroupType
from mihomo_tproxy.errors import GatewayError
from mihomo_tproxy.governing import CHECK_MOST_MS, MAX_ASKED, Groups
from mihomo_tproxy.model.enums import TunnelMode
from mihomo_tproxy.model.group_state import EMPTY_STATE, GroupState

SPECS = (
    GroupSpec("pick", GroupType.SELECT, ("a", "b", "DIRECT")),
    GroupSpec("best", GroupType.URL_TEST, ("a", "b"), hidden=True),
    GroupSpec("all", GroupType.LOAD_BALANCE, ("a", "b")),
)


class Keeper:
    """Notes what it is told."""

    def __init__(self, *, there=True):
        self.there = there
        self.told = []

    def tell(self, *message):
        self.told.append(message)
        return self.there


@pytest.fixture
def groups():
    found = Groups()
    found.replace(SPECS, {})
    return found


@pytest.fixture
def clients():
    """Ends of clients: `clients()` is the supervisor's and the client's."""
    made = []

    def make():
        made.append(socket.socketpair())
        return made[-1]

    yield make
    for pair in made:
        for each in pair:
            each.close()


def test_what_the_keeper_decided_undoes_no_selection(groups):
    """It said so before it heard of the selection, or of these groups."""
    groups.state = groups.selected("pick", "b")
    late = GroupState({"pick": "a", "best": "b", "gone": "a"}, {"all": frozenset({"a"})})
    assert groups.decided(late) == GroupState({"pick": "b", "best": "b"}, late.dead)


def heard(client):
    client.settimeout(5)
    return json.loads(client.recv(65536))


def test_stored_selections_count_where_nothing_was_chosen():
    groups = Groups()
    assert groups.replace(SPECS, {"pick": "b", "gone": "a", "best": "nobody"}) == EMPTY_STATE
    assert groups.state.now == {"pick": "b"}


def test_a_reload_keeps_what_can_be_kept(groups):
    groups.state = GroupState({"pick": "b", "best": "a"}, {"all": frozenset({"a"})})
    fewer = (GroupSpec("pick", GroupType.SELECT, ("a",)), SPECS[1])
    before = groups.state
    assert groups.replace(fewer, {}) == before
    assert groups.state == GroupState({"best": "a"}, {})


def test_a_reload_that_failed_changes_nothing(groups):
    before = groups.state = GroupState({"pick": "b"}, {"all": frozenset({"a"})})
    groups.restore(SPECS, groups.replace((SPECS[1],), {"best": "b"}))
    assert groups.state == before
    assert [each["name"] for each in groups.report(TunnelMode.RULE)["groups"]] == [
        "pick", "best", "all",
    ]  # fmt: skip


def test_selecting(groups):
    assert groups.selected("pick", "b").now == {"pick": "b"}
    assert groups.selected("best", "b").now == {"best": "b"}
    assert groups.selected("best", "") == groups.state
    assert groups.state.now == {}


@pytest.mark.parametrize(
    ("group", "member", "says"),
    [
        ("pik", "a", "there is no group 'pik'"),
        ("pick", "c", "'pick' has no member 'c'"),
        ("pick", "", "name one of its members"),
        ("all", "a", "it uses all of its members"),
        ("all", "", "it uses all of its members"),
    ],
)
def test_what_cannot_be_selected(groups, group, member, says):
    with pytest.raises(GatewayError, match=says):
        groups.selected(group, member)


def test_modes(groups):
    assert groups.mode_of("GLOBAL") is TunnelMode.GLOBAL
    for word in ("turbo", None, 5):
        with pytest.raises(GatewayError, match="there are: rule, global, direct"):
            groups.mode_of(word)


def test_the_report(groups):
    groups.state = GroupState({"best": "b"}, {"all": frozenset({"b", "a"})})
    groups.delays = {"a": [(1.0, 10), (2.0, 20)], "b": []}
    report = groups.report(TunnelMode.RULE)
    assert json.loads(json.dumps(report)) == report
    assert (report["mode"], report["delays"]) == ("rule", {"a": 20})
    pick, best, balance = report["groups"]
    assert pick == {
        "name": "pick", "type": "select", "now": "a", "members": ["a", "b", "DIRECT"],
        "dead": [], "hidden": False,
    }  # fmt: skip
    assert (best["now"], best["hidden"]) == ("b", True)
    assert (balance["now"], balance["dead"]) == (None, ["a", "b"])


def test_the_keepers_answer_goes_to_who_asked(groups, clients):
    keeper = Keeper()
    ours, client = clients()
    groups.forward(ours, keeper, "check", {"name": "a", "url": "http://x", "timeout": 100})
    other, waiting = clients()
    groups.forward(other, keeper, "update", {"name": "list"})
    assert keeper.told == [("check", 1, "a", "http://x", 100), ("update", 2, "list")]
    groups.answer(1, {"delay": 5})
    groups.answer(1, {"delay": 6})
    groups.answer(77, {})
    assert heard(client) == {"delay": 5}
    groups.abandon()
    assert "died" in heard(waiting)["error"]


@pytest.mark.parametrize("timeout", [0, -1, CHECK_MOST_MS + 1, "5", 1.5, None, [], 1e400])
def test_a_timeout_that_is_none(groups, clients, timeout):
    ours, _ = clients()
    keeper = Keeper()
    with pytest.raises(GatewayError, match="a check takes 1 to 30000 ms"):
        groups.forward(ours, keeper, "check", {"name": "a", "timeout": timeout})
    assert keeper.told == []


def test_without_a_keeper_nobody_waits(groups, clients):
    ours, client = clients()
    with pytest.raises(GatewayError, match="does not run"):
        groups.forward(ours, Keeper(there=False), "check-group", {"name": "best"})
    groups.abandon()
    client.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.recv(1)


def test_the_first_gives_way_when_too_many_wait(groups, clients):
    keeper = Keeper()
    ours, first = clients()
    groups.forward(ours, keeper, "update", {})
    for _ in range(MAX_ASKED):
        ours, last = clients()
        groups.forward(ours, keeper, "update", {})
    assert heard(first) == {"error": "too many wait for an answer"}
    groups.answer(MAX_ASKED + 1, {"changed": True})
    assert heard(last) == {"changed": True}
