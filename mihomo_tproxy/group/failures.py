"""Notices that a group's members fail their flows, so that the keeper checks the group at once.

mihomo: `max-failed-times` failed dials within the group's timeout, at every level of groups inside
groups. The flow path only counts (`Traffic.failed`); once a second the counts of those that were
used at all are looked at.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from mihomo_tproxy.config.specs.group import GroupType
from mihomo_tproxy.model.enums import Network

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mihomo_tproxy.config.specs.group import GroupSpec
    from mihomo_tproxy.net.tracker import Tracker


class _Watched:
    """One group whose members are checked."""

    def __init__(self, spec: GroupSpec) -> None:
        self.spec = spec
        self.recent: deque[tuple[float, int]] = deque()
        """When failures were noticed, and how many."""

    def add(self, now: float, number: int) -> bool:
        """Take failures in; whether there are too many now, which counts anew then."""
        recent = self.recent
        while recent and recent[0][0] < now - self.spec.timeout_ms / 1000:
            recent.popleft()
        recent.append((now, number))
        if sum(each for _, each in recent) < self.spec.max_failed_times:
            return False
        recent.clear()
        return True


class FailureWatch:
    """The groups of one configuration."""

    def __init__(self, specs: Iterable[GroupSpec], tracker: Tracker) -> None:
        groups = {spec.name: spec for spec in specs}
        self._tracker = tracker
        self._seen: dict[str, int] = {}
        self._watched: dict[str, list[_Watched]] = {}
        for spec in groups.values():
            if spec.type is not GroupType.SELECT:
                watched = _Watched(spec)
                for name in _leaves(spec, groups):
                    self._watched.setdefault(name, []).append(watched)
        self._look()

    def look(self, now: float) -> set[str]:
        """The groups that failed too often lately.

        `now` is in seconds, of a clock that does not go back.
        """
        return {
            watched.spec.name
            for name, number in self._look()
            for watched in self._watched[name]
            if watched.add(now, number)
        }

    def _look(self) -> list[tuple[str, int]]:
        """What failed since the last look, and how often."""
        if not self._watched:
            return []
        fresh: list[tuple[str, int]] = []
        for traffic in self._tracker.traffics():
            if (
                traffic.failed
                and traffic.network is Network.TCP
                and traffic.target in self._watched
            ):
                number = traffic.failed - self._seen.get(traffic.target, 0)
                if number:
                    self._seen[traffic.target] = traffic.failed
                    fresh.append((traffic.target, number))
        return fresh


def _leaves(spec: GroupSpec, groups: dict[str, GroupSpec]) -> Iterator[str]:
    """The members, those of groups in their places; groups lead to no circle."""
    seen: set[str] = set()
    waiting = list(spec.members)
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        inner = groups.get(name)
        if inner is None:
            yield name
        else:
            waiting += inner.members
