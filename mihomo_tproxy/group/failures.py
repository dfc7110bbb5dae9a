"""Notices that a group's member fails its flows, so that the keeper checks the group at once.

mihomo: `max-failed-times` failed dials within the group's timeout. The flow path only counts
(`Traffic.failed`); once a second the counts of what the groups take now are looked at.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from mihomo_tproxy.config.specs.group import GroupType
from mihomo_tproxy.model.enums import Network

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mihomo_tproxy.group.base import Group
    from mihomo_tproxy.net.tracker import Tracker
    from mihomo_tproxy.outbound.registry import OutboundRegistry


class _Watched:
    """One group whose members are checked."""

    def __init__(self, group: Group, tracker: Tracker) -> None:
        self.group = group
        names = {*group.spec.members}
        self.traffics = [tracker.traffic(name, Network.TCP) for name in names]
        self.seen = self.failed
        self.recent: deque[tuple[float, int]] = deque()

    @property
    def failed(self) -> int:
        """Failures of its members so far."""
        return sum(traffic.failed for traffic in self.traffics)


class FailureWatch:
    """The groups of one configuration."""

    def __init__(self, outbounds: OutboundRegistry, tracker: Tracker) -> None:
        self._watched = [
            _Watched(group, tracker)
            for group in outbounds.groups
            if group.spec.type is not GroupType.SELECT
        ]

    def look(self, now: float) -> Iterator[str]:
        """The groups that failed too often lately; each counts anew then.

        `now` is in seconds, of a clock that does not go back.
        """
        for watched in self._watched:
            failed = watched.failed
            fresh, watched.seen = failed - watched.seen, failed
            recent, spec = watched.recent, watched.group.spec
            if fresh:
                recent.append((now, fresh))
            while recent and recent[0][0] < now - spec.timeout_ms / 1000:
                recent.popleft()
            if recent and sum(number for _, number in recent) >= spec.max_failed_times:
                recent.clear()
                yield spec.name
