"""When which proxies are tested: the health checks of groups and of proxy providers.

As in mihomo: everything is tested once at the start, then at each interval; a `lazy` one only if it
was used since the tests before. Beyond mihomo: a lazy one that is used after a longer rest is
tested at that moment, not an interval later, and a reload tests only what is new.

Until somebody tells what is used (`used`), everything counts as used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from mihomo_tproxy.config.schema import Config
    from mihomo_tproxy.keeper.checks import Checks
    from mihomo_tproxy.keeper.history import Sample


class Plan(NamedTuple):
    """One health check of the file."""

    key: str
    """`group NAME` or `provider NAME`."""
    members: tuple[str, ...]
    url: str
    interval_s: int
    """0: only when asked to."""
    timeout_s: float
    lazy: bool


def plans_of(config: Config) -> dict[str, Plan]:
    """All health checks of a configuration, by their keys."""
    plans = [
        Plan(
            f"group {group.name}",
            group.members,
            group.url,
            group.interval_s,
            group.timeout_ms / 1000,
            group.lazy,
        )
        for group in config.groups
        if group.url
    ]
    for provider in config.proxy_providers:
        check = provider.health_check
        if check is not None and check.url:
            plans.append(
                Plan(
                    f"provider {provider.name}",
                    provider.members,
                    check.url,
                    check.interval_s,
                    check.timeout_ms / 1000,
                    check.lazy,
                )
            )
    return {plan.key: plan for plan in plans}


class Health:
    """Plans and their timers."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, checks: Checks, changed: Callable[[], object]
    ) -> None:
        """`changed` is called after every test that a plan asked for."""
        self._loop = loop
        self._checks = checks
        self._changed = changed
        self._watches: dict[str, _Watch] = {}
        self._told = False

    def configure(self, plans: dict[str, Plan], touched: set[str]) -> None:
        """Follow other plans; those that are new, or have members in `touched`, begin at once."""
        for key in [key for key, watch in self._watches.items() if plans.get(key) != watch.plan]:
            self._watches.pop(key).stop()
        for key, plan in plans.items():
            watch = self._watches.get(key)
            if watch is None:
                self._watches[key] = watch = _Watch(self._loop, self._checks, plan, self._changed)
                watch.always = not self._told
            elif touched.isdisjoint(plan.members):
                continue
            if plan.interval_s:
                watch.begin()

    def use(self, groups: Iterable[str]) -> None:
        """These groups have been used just now."""
        if not self._told:
            self._told = True
            for watch in self._watches.values():
                watch.always = False
        found = [self._watches.get(f"group {name}") for name in groups]
        used = [watch for watch in found if watch is not None]
        members = {member for watch in used for member in watch.plan.members}
        for watch in self._watches.values():
            if watch in used or not members.isdisjoint(watch.provided):
                watch.use()

    def check_now(self, group: str) -> None:
        """Test a group's members, unless that is being done."""
        watch = self._watches.get(f"group {group}")
        if watch is not None:
            watch.begin()

    @property
    def busy(self) -> frozenset[str]:
        """Groups of which not all members have been tested since that began."""
        kinds = (key.partition(" ") for key, watch in self._watches.items() if watch.busy)
        return frozenset(name for kind, _, name in kinds if kind == "group")

    def stop(self) -> None:
        """Begin nothing any more."""
        for watch in self._watches.values():
            watch.stop()
        self._watches.clear()


class _Watch:
    """One plan at work."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        checks: Checks,
        plan: Plan,
        changed: Callable[[], object],
    ) -> None:
        self.plan = plan
        self.provided = frozenset(plan.members if plan.key.startswith("provider ") else ())
        self.always = True
        """Nobody tells whether it is used."""
        self.used = float("-inf")
        self._loop = loop
        self._checks = checks
        self._changed = changed
        self._begun = float("-inf")
        self._missing = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def busy(self) -> bool:
        """Whether a test is still to end."""
        return self._missing > 0

    def begin(self) -> None:
        """Test all members, unless that is being done, and again after the interval."""
        if self._missing:
            return
        self._arm()
        plan, now = self.plan, self._loop.time()
        self._begun = now
        self._missing = len(plan.members)
        for member in plan.members:
            self._checks.request(member, plan.url, plan.timeout_s, self._on_sample, since=now)

    def use(self) -> None:
        """It was used."""
        self.used = now = self._loop.time()
        if self.plan.interval_s and now - self._begun > self.plan.interval_s:
            self.begin()

    def stop(self) -> None:
        """No timer any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self.stop()
        if self.plan.interval_s:
            self._timer = self._loop.call_later(self.plan.interval_s, self._tick)

    def _tick(self) -> None:
        self._arm()
        if not self.plan.lazy or self.always or self.used > self._begun:
            self.begin()

    def _on_sample(self, _name: str, _sample: Sample) -> None:
        self._missing -= 1
        self._changed()
