"""Where a flow went, from the gateway's counters: never from what was expected of it.

The programs count packets, bytes and new flows per LAN client and route; that settles kernel,
relay and drop at once. What the relay did with a flow (splice, refuse) its worker counts, and
publishes once a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mihomo_tproxy.dataplane.abi import CLIENT_ROUTES, Count, Route
from mihomo_tproxy.dataplane.stats import read_clients, read_routes, read_workers
from mihomo_tproxy.dataplane.tables import open_map
from mihomo_tproxy.demo.scenario import Way

if TYPE_CHECKING:
    from mihomo_tproxy.demo.scenario import Case

Routes = dict[Route, Count]

NOTHING = Count(0, 0, 0)


class Counters:
    """The pinned counters of one gateway."""

    def __init__(self, pins: str) -> None:
        """Raises DataplaneError when no gateway has pinned anything there."""
        self._totals = open_map(pins, "totals")
        self._clients = open_map(pins, "client_stats")
        self._workers = open_map(pins, "worker_stats")

    def totals(self) -> Routes:
        """Everything, by route."""
        return read_routes(self._totals)

    def client(self, address: str) -> Routes:
        """One LAN client, by route."""
        for client in read_clients(self._clients):
            if client.address == address:
                return client.routes
        return dict.fromkeys(list(Route)[:CLIENT_ROUTES], NOTHING)

    def workers(self) -> dict[str, int]:
        """What the workers publish, added up."""
        added: dict[str, int] = {}
        for counters in read_workers(self._workers).values():
            for name, value in counters.items():
                added[name] = added.get(name, 0) + value
        return added

    def close(self) -> None:
        """Let go of the maps."""
        for each in (self._totals, self._clients, self._workers):
            each.close()


def difference(after: Routes, before: Routes) -> Routes:
    """What was counted in between."""
    return {
        route: Count(*(a - b for a, b in zip(after[route], before[route], strict=True)))
        for route in after
    }


class Proof(NamedTuple):
    """Where a flow went, and the counters that say so."""

    way: Way
    counted: str


def prove(case: Case, routes: Routes, growth: int) -> Proof:
    """The way of a flow.

    Args:
        case: what was sent.
        routes: what the programs counted for the client meanwhile.
        growth: by how much the case's counter of the worker has grown.
    """
    down = routes[Route.DOWN_KERNEL].bytes, routes[Route.DOWN_RELAY].bytes
    if dropped := routes[Route.DROP].packets:
        return Proof(Way.BLOCKED, f"{dropped} packet{'s' * (dropped > 1)} dropped")
    if routes[Route.KERNEL].flows and not routes[Route.RELAY].flows:
        return Proof(Way.KERNEL, f"{_amount(down[0])} forwarded")
    if not routes[Route.RELAY].flows:
        return Proof(Way.LOST, "no new flow")
    if growth < case.growth:
        return Proof(
            Way.RELAY, f"{_amount(down[1])} relayed, {case.counter or 'counter'} +{growth}"
        )
    if case.counter == "spliced-bytes":
        return Proof(Way.SPLICE, f"{_amount(growth)} spliced")
    if case.counter.endswith(":REJECT"):
        return Proof(Way.BLOCKED, f"{growth} flow{'s' * (growth > 1)} refused")
    return Proof(Way.RELAY, f"{_amount(down[1])} relayed")


def _amount(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"
