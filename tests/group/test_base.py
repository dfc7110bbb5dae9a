"""A group is an outbound by whom it picks."""

from __future__ import annotations

import inspect

import pytest

from mihomo_tproxy.config.specs.group import GroupSpec, GroupType
from mihomo_tproxy.group.balance import Balance
from mihomo_tproxy.group.chosen import Chosen
from mihomo_tproxy.outbound.base import Leaf, Outbound


class Recorded(Leaf):
    """Writes down what it was asked."""

    name = "leaf"
    udp = True

    def __init__(self):
        self.asked = []

    def open_tcp(self, client, metadata, answer=None):
        self.asked.append(("open_tcp", client, metadata, answer))

    def route(self, host, port):
        return ("route", host, port)

    def open_udp(self, sink):
        return ("link", sink)

    def refuse_udp(self, client, destination, size):
        self.asked.append(("refuse_udp", client, destination, size))


@pytest.mark.parametrize("kind", [Chosen, Balance])
@pytest.mark.parametrize("method", ["open_tcp", "open_udp", "pick", "refuse_udp", "route"])
def test_signatures_agree(kind, method):
    expected = inspect.signature(getattr(Outbound, method)).parameters
    assert list(inspect.signature(getattr(kind, method)).parameters) == list(expected)


def test_what_is_asked_of_a_group_its_pick_does():
    leaf = Recorded()
    group = Chosen(GroupSpec("g", GroupType.SELECT, ("leaf",)))
    group.fill([leaf])
    group.open_tcp(1, 2, 3)
    group.refuse_udp(4, 5, 6)
    assert leaf.asked == [("open_tcp", 1, 2, 3), ("refuse_udp", 4, 5, 6)]
    assert group.route("host", 7) == ("route", "host", 7)
    assert group.open_udp(8) == ("link", 8)


def test_a_group_without_udp_gives_no_link():
    group = Chosen(GroupSpec("g", GroupType.SELECT, ("leaf",), disable_udp=True))
    group.fill([Recorded()])
    assert group.open_udp(8) is None
