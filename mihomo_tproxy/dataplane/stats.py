"""Counters in the kernel's maps: what workers publish, and what the programs count.

They live in pinned maps so that `status` can read them whether or not the daemon runs. Names are
cut to 124 bytes of UTF-8; values are unsigned.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from mihomo_tproxy.dataplane.abi import (
    CLIENT_ROUTES,
    COUNT,
    STAT_KEY,
    STAT_VALUE,
    Count,
    Route,
    sum_counts,
)
from mihomo_tproxy.model.address import address_text

if TYPE_CHECKING:
    from mihomo_tproxy.dataplane.bpf import Map

NAME_BYTES: Final = 124


def stat_key(name: str, worker: int) -> bytes:
    """The key of one worker's counter."""
    return STAT_KEY.pack(name.encode()[:NAME_BYTES], worker)


class WorkerStats:
    """One worker's counters; writes only what changed."""

    def __init__(self, stats: Map, worker: int) -> None:
        """Forget what an earlier worker in this place left."""
        self._map = stats
        self._worker = worker
        self._written: dict[str, int] = {}
        for key in list(stats.keys()):
            if STAT_KEY.unpack(key)[1] == worker:
                stats.delete(key)

    def publish(self, counters: dict[str, int]) -> None:
        """Write the counters that differ from last time. A full map loses the rest, silently."""
        changed = {n: v for n, v in counters.items() if self._written.get(n) != v}
        try:
            self._map.update_many(
                [stat_key(name, self._worker) for name in changed],
                [STAT_VALUE.pack(value) for value in changed.values()],
            )
        except OSError:
            return
        self._written.update(changed)


def read_workers(stats: Map) -> dict[int, dict[str, int]]:
    """Worker -> counter -> value."""
    workers: dict[int, dict[str, int]] = {}
    for key in list(stats.keys()):
        name, worker = STAT_KEY.unpack(key)
        values = stats.lookup(key)
        if values:
            text = name.rstrip(b"\0").decode(errors="replace")
            workers.setdefault(worker, {})[text] = STAT_VALUE.unpack(values[0])[0]
    return workers


def read_routes(totals: Map) -> dict[Route, Count]:
    """What the programs counted, by route."""
    return {
        route: sum_counts(totals.lookup(int(route).to_bytes(4, sys.byteorder)) or [])
        for route in Route
    }


class Client(NamedTuple):
    """One LAN client as the programs saw it."""

    address: str
    routes: dict[Route, Count]
    seen_ns: int
    """CLOCK_MONOTONIC of the last packet."""


def read_clients(stats: Map) -> list[Client]:
    """LAN clients, the busiest first."""
    clients = []
    for key in list(stats.keys()):
        per_cpu = stats.lookup(key)
        if not per_cpu:
            continue
        routes = {Route(index): sum_counts(per_cpu, index) for index in range(CLIENT_ROUTES)}
        end = CLIENT_ROUTES * COUNT.size
        seen = max(int.from_bytes(value[end : end + 8], sys.byteorder) for value in per_cpu)
        clients.append(Client(address_text(int.from_bytes(key, "big")), routes, seen))
    clients.sort(key=lambda client: -sum(count.bytes for count in client.routes.values()))
    return clients
