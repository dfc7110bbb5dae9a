"""What each group has chosen, by what the user said and what the tests found.

select takes what was selected; url-test and fallback choose, among those that are alive, unless one
is fixed; of load-balance groups the dead are told. A member is dead when its last test with the
group's URL failed, or was answered with another status than expected; one never tested is alive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.config.specs.group import GroupType
from mihomo_tproxy.group.choosing import UNKNOWN_MS, choose_fallback, choose_url_test
from mihomo_tproxy.model.group_state import GroupState
from mihomo_tproxy.model.status import is_expected, status_ranges

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from mihomo_tproxy.config.specs.group import GroupSpec
    from mihomo_tproxy.keeper.history import History, Sample


class Choices:
    """The groups of one configuration."""

    def __init__(
        self,
        groups: Iterable[GroupSpec],
        history: History,
        selected: Mapping[str, str],
        now: Mapping[str, str],
    ) -> None:
        """`selected` is what the user said, `now` what was chosen last; either may be outdated.

        For a select group the latter counts first: the supervisor keeps those.
        """
        self._groups = {group.name: group for group in groups}
        self._expected = {
            name: status_ranges(g.expected_status) for name, g in self._groups.items()
        }
        self._history = history
        self._selected = {
            name: member
            for name, member in selected.items()
            if name in self._groups and member in self._groups[name].members
        }
        self._now = {name: now[name] for name in self._groups if name in now}
        self._dead: dict[str, frozenset[str]] = {}
        self._doubted: dict[str, Sample | None] = {}
        """Fallback group -> the test that spoke against its member when that was fixed."""
        self.refresh()

    @property
    def state(self) -> GroupState:
        """All choices at this moment, without those that nobody made yet.

        So a configuration that begins makes no news.
        """
        return GroupState(dict(self._now), dict(self._dead))

    @property
    def selected(self) -> dict[str, str]:
        """What the user said, as far as it holds."""
        return dict(self._selected)

    def group(self, name: str) -> GroupSpec | None:
        """The group of this name."""
        return self._groups.get(name)

    def select(self, name: str, member: str) -> None:
        """The user's choice; "" lets the group choose again.

        Raises:
            ValueError: there is no such group or member, or the group chooses flow by flow.
        """
        group = self._groups.get(name)
        if group is None:
            raise ValueError(f"there is no group {name!r}")
        if group.type is GroupType.LOAD_BALANCE:
            raise ValueError(f"{name!r} is a load-balance group: nothing can be selected")
        if not member:
            self._selected.pop(name, None)
        elif member in group.members:
            self._selected[name] = self._now[name] = member
            self._doubted[name] = self._history.last(member, group.url)
        else:
            raise ValueError(f"{member!r} is no member of {name!r}")

    def refresh(self, busy: Container[str] = ()) -> bool:
        """Choose anew; whether anything changed.

        The url-test groups in `busy` are being tested: before all of their members had their turn
        only a dead choice is replaced, for each other one costs the kernel what it has learnt.
        """
        before = self.state
        self._dead.clear()
        for name, group in self._groups.items():
            if group.type is GroupType.LOAD_BALANCE:
                alive = self._delays(group)
                dead = frozenset(each for each in group.members if each not in alive)
                if dead:
                    self._dead[name] = dead
                continue
            chosen = self._choose(group, name in busy)
            if chosen != group.default or name in self._now:
                self._now[name] = chosen
        return before != self.state

    def now(self, name: str) -> str:
        """Where a group's flows go, "" for those of load-balance."""
        group = self._groups[name]
        if group.type is GroupType.LOAD_BALANCE:
            return ""
        return self._now.get(name, group.default)

    def used(self, names: Iterable[str]) -> set[str]:
        """These groups, and those that are chosen by them, and so on."""
        found: set[str] = set()
        waiting = [name for name in names if name in self._groups]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                group = self._groups[name]
                balanced = group.type is GroupType.LOAD_BALANCE
                picks = group.members if balanced else (self.now(name),)
                waiting.extend(pick for pick in picks if pick in self._groups)
        return found

    def alive(self, group: GroupSpec, member: str) -> bool:
        """Whether a member's last test, if there was one, went well."""
        sample = self._history.last(member, group.url)
        return sample is None or self._answered(group, sample)

    def _choose(self, group: GroupSpec, busy: bool) -> str:
        name = group.name
        selected = self._selected.get(name, "")
        if group.type is GroupType.SELECT:
            current = self._now.get(name, "")
            return current if current in group.members else selected or group.default
        delays = self._delays(group)
        if group.type is GroupType.URL_TEST:
            current = self._now.get(name, "")
            if busy and current in delays and not selected:
                return current
            return choose_url_test(group.members, delays, current, group.tolerance_ms, selected)
        if selected and selected not in delays:
            # As in mihomo: a fixed member that dies is no longer fixed; one that was dead when it
            # was fixed is tested first.
            if self._history.last(selected, group.url) is self._doubted.get(name):
                return selected
            del self._selected[name]
        return choose_fallback(group.members, delays, selected)

    def _delays(self, group: GroupSpec) -> dict[str, int]:
        """Of those members that are alive."""
        delays: dict[str, int] = {}
        for member in group.members:
            sample = self._history.last(member, group.url)
            if sample is None:
                delays[member] = UNKNOWN_MS
            elif self._answered(group, sample):
                delays[member] = sample.delay_ms
        return delays

    def _answered(self, group: GroupSpec, sample: Sample) -> bool:
        """Whether there was an answer, and one that the group expects."""
        return sample.status > 0 and is_expected(sample.status, self._expected[group.name])
