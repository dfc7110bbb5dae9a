"""Counters: what workers write, and what readers make of the maps."""

from __future__ import annotations

import sys

import pytest

from mihomo_tproxy.dataplane.abi import CLIENT_ROUTES, COUNT, STAT_VALUE, Route
from mihomo_tproxy.dataplane.stats import (
    NAME_BYTES,
    WorkerStats,
    read_clients,
    read_routes,
    read_workers,
    stat_key,
)
from mihomo_tproxy.model.address import address_key


class FakeMap:
    """A map in a dict; values are lists, one item for each processor."""

    def __init__(self, content=None, limit=1000):
        self.content = dict(content or {})
        self.limit = limit
        self.writes = 0

    def keys(self):
        return iter(self.content)

    def lookup(self, key):
        return self.content.get(key)

    def delete(self, key):
        return self.content.pop(key, None) is not None

    def update_many(self, keys, values):
        for key, value in zip(keys, values, strict=True):
            if key not in self.content and len(self.content) >= self.limit:
                raise OSError(7, "Argument list too long")
            self.content[key] = [value]
            self.writes += 1


def test_what_is_published_is_read():
    stats = FakeMap()
    WorkerStats(stats, 0).publish({"tcp-live": 3, "opened:tcp:DIRECT": 9})
    WorkerStats(stats, 1).publish({"tcp-live": 5})
    assert read_workers(stats) == {
        0: {"tcp-live": 3, "opened:tcp:DIRECT": 9},
        1: {"tcp-live": 5},
    }


def test_only_changes_are_written():
    stats = FakeMap()
    worker = WorkerStats(stats, 0)
    worker.publish({"a": 1, "b": 1})
    worker.publish({"a": 1, "b": 2})
    assert stats.writes == 3


def test_a_new_worker_forgets_its_forerunner_and_nobody_else():
    stats = FakeMap({stat_key("old", worker): [STAT_VALUE.pack(1)] for worker in (0, 1)})
    WorkerStats(stats, 0)
    assert read_workers(stats) == {1: {"old": 1}}


def test_a_full_map_is_no_error_and_is_tried_again():
    stats = FakeMap(limit=0)
    worker = WorkerStats(stats, 0)
    worker.publish({"a": 1})
    assert not stats.content
    stats.limit = 1
    worker.publish({"a": 1})
    assert read_workers(stats) == {0: {"a": 1}}


@pytest.mark.parametrize("name", ["x" * 100, "é" * 20])
def test_long_names_are_cut(name):
    stats = FakeMap()
    WorkerStats(stats, 0).publish({name: 1})
    (found,) = read_workers(stats)[0]
    assert len(found.encode(errors="replace")) <= NAME_BYTES + 2
    assert found[:10] == name[:10]


def test_routes_are_added_up_over_processors():
    index = int(Route.DROP).to_bytes(4, sys.byteorder)
    totals = FakeMap({index: [COUNT.pack(1, 100, 1), COUNT.pack(2, 50, 0)]})
    routes = read_routes(totals)
    assert routes[Route.DROP] == (3, 150, 1)
    assert routes[Route.KERNEL] == (0, 0, 0)
    assert set(routes) == set(Route)


def client_value(route, size, seen):
    counts = [(1, size, 1) if index == route else (0, 0, 0) for index in range(CLIENT_ROUTES)]
    return b"".join(COUNT.pack(*each) for each in counts) + seen.to_bytes(8, sys.byteorder)


def test_clients_come_with_the_busiest_first():
    stats = FakeMap(
        {
            address_key(address).to_bytes(16, "big"): values
            for address, values in {
                "192.168.1.2": [client_value(Route.RELAY, 10, 5), client_value(99, 0, 9)],
                "fd77::10": [client_value(Route.KERNEL, 500, 1), client_value(Route.KERNEL, 1, 2)],
            }.items()
        }
    )
    first, second = read_clients(stats)
    assert (first.address, second.address) == ("fd77::10", "192.168.1.2")
    assert first.routes[Route.KERNEL] == (2, 501, 2)
    assert (first.seen_ns, second.seen_ns) == (2, 9)


def test_proxies_of_long_names_do_not_share_a_counter():
    names = [f"down-bytes:tcp:香港 · premium · 0{number} · IEPL" for number in (1, 2)]
    stats = FakeMap()
    WorkerStats(stats, 0).publish(dict.fromkeys(names, 7))
    assert set(read_workers(stats)[0]) == set(names)
