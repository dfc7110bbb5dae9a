"""Counters of one worker: flows, bytes and failures, as plain ints that the flow path adds to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mihomo_tproxy.model.enums import Network


class Traffic:
    """What went through one target by one network."""

    __slots__ = ("closed", "down", "failed", "network", "opened", "target", "up")

    def __init__(self, target: str, network: Network) -> None:
        self.target = target
        self.network = network
        self.opened = 0
        self.closed = 0
        self.failed = 0
        """Flows that never came to payload: the server was not reached, or refused."""
        self.up = 0
        """Bytes, client to server."""
        self.down = 0
        """Bytes, server to client."""


class Tracker:
    """Every counter of one worker; `snapshot` is what leaves it."""

    def __init__(self) -> None:
        self.spliced = 0
        """Bytes moved without entering this process."""
        self.datagrams_up = 0
        self.datagrams_down = 0
        self.errors: dict[str, int] = {}
        """Failures by cause."""
        self.tcp_live = 0
        self.udp_live = 0
        self._traffic: dict[tuple[str, Network], Traffic] = {}

    def traffic(self, target: str, network: Network) -> Traffic:
        """The counters of a target; the same object each time, so that callers may keep it."""
        key = (target, network)
        traffic = self._traffic.get(key)
        if traffic is None:
            traffic = self._traffic[key] = Traffic(target, network)
        return traffic

    def traffics(self) -> Iterable[Traffic]:
        """The counters of every target, used or not."""
        return self._traffic.values()

    def count(self, cause: str) -> None:
        """One more failure of this cause."""
        self.errors[cause] = self.errors.get(cause, 0) + 1

    def flow_opened(self, traffic: Traffic) -> None:
        """A TCP flow was accepted for a target."""
        traffic.opened += 1
        self.tcp_live += 1

    def flow_closed(self, traffic: Traffic, cause: str) -> None:
        """A TCP flow ended; `cause` is "" when both sides closed in order."""
        traffic.closed += 1
        self.tcp_live -= 1
        if cause:
            self.count(cause)

    def session_opened(self, traffic: Traffic) -> None:
        """A UDP flow (client and destination) was opened."""
        traffic.opened += 1
        self.udp_live += 1

    def session_closed(self, traffic: Traffic) -> None:
        """A UDP flow was closed."""
        traffic.closed += 1
        self.udp_live -= 1

    def snapshot(self) -> dict[str, object]:
        """All counters as values that can be serialised."""
        return {
            "tcp_live": self.tcp_live,
            "udp_live": self.udp_live,
            "spliced_bytes": self.spliced,
            "datagrams_up": self.datagrams_up,
            "datagrams_down": self.datagrams_down,
            "errors": dict(self.errors),
            "targets": [
                {
                    "target": traffic.target,
                    "network": str(traffic.network),
                    "opened": traffic.opened,
                    "closed": traffic.closed,
                    "up_bytes": traffic.up,
                    "down_bytes": traffic.down,
                }
                for traffic in self._traffic.values()
            ],
        }
