"""When proxies are tested."""

from __future__ import annotations

import asyncio

import pytest

from mihomo_tproxy.config.schema import Config
from mihomo_tproxy.config.specs.group import GroupSpec, GroupType
from mihomo_tproxy.config.specs.provider import HealthCheckSpec, ProxyProviderSpec, Vehicle
from mihomo_tproxy.keeper.checks import Checks
from mihomo_tproxy.keeper.health import Health, Plan, plans_of
from mihomo_tproxy.keeper.history import History
from mihomo_tproxy.keeper.probe import Result


class Timer:
    def __init__(self, at, callback, arguments):
        self.at, self.callback, self.arguments, self.cancelled = at, callback, arguments, False

    def cancel(self):
        self.cancelled = True


class FakeLoop:
    """A clock, and timers that run when the test lets time pass."""

    def __init__(self):
        self.now = 1000.0
        self.timers = []

    def time(self):
        return self.now

    def call_later(self, delay, callback, *arguments):
        self.timers.append(Timer(self.now + delay, callback, arguments))
        return self.timers[-1]

    async def later(self, seconds):
        end = self.now + seconds
        await settle()
        while True:
            self.timers = [timer for timer in self.timers if not timer.cancelled]
            due = min(self.timers, key=lambda timer: timer.at, default=None)
            if due is None or due.at > end:
                break
            self.timers.remove(due)
            self.now = due.at
            due.callback(*due.arguments)
            await settle()
        self.now = end
        await settle()


async def settle():
    for _ in range(30):
        await asyncio.sleep(0)


class Scene:
    """A schedule over a fake clock; `tested` is what was tested since the last look."""

    def __init__(self, *plans):
        self.loop = FakeLoop()
        self._tested = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.changes = 0
        self.checks = Checks(self.loop, History(), self._probe)
        self.health = Health(self.loop, self.checks, self._changed)
        self.configure(*plans)

    def configure(self, *plans, touched=()):
        self.health.configure({plan.key: plan for plan in plans}, set(touched))

    @property
    def tested(self):
        tested, self._tested = "".join(sorted(self._tested)), []
        return tested

    async def _probe(self, name, url, timeout_s):
        self._tested.append(name)
        await self.gate.wait()
        return Result(10, 204)

    def _changed(self):
        self.changes += 1


@pytest.fixture
async def scene():
    made = []

    def make(*plans):
        made.append(Scene(*plans))
        return made[-1]

    yield make
    for each in made:
        each.health.stop()
        await each.checks.close()


def plan(key="group g", members="ab", interval=60, lazy=True, url="u"):
    return Plan(key, tuple(members), url, interval, 5.0, lazy)


async def test_at_once_and_then_at_intervals(scene):
    it = scene(plan())
    await settle()
    assert (it.tested, it.changes) == ("ab", 2)
    await it.loop.later(59)
    assert it.tested == ""
    await it.loop.later(2)
    assert it.tested == "ab"


async def test_without_interval_only_when_asked(scene):
    it = scene(plan(interval=0))
    await it.loop.later(1000)
    assert it.tested == ""
    it.health.check_now("g")
    it.health.check_now("unknown")
    await it.loop.later(1000)
    assert it.tested == "ab"


async def test_lazy_rests_while_unused(scene):
    it = scene(plan(), plan("group h", "c", lazy=False))
    it.health.use(["h"])
    await it.loop.later(1)
    assert it.tested == "abc"
    await it.loop.later(60)
    assert it.tested == "c"
    it.health.use(["g"])
    await settle()
    assert it.tested == "ab"  # it rested for longer than its interval
    await it.loop.later(1)
    it.health.use(["g"])
    await it.loop.later(58)
    assert it.tested == "c"
    await it.loop.later(2)
    assert it.tested == "ab"


async def test_unused_until_told_counts_as_used(scene):
    it = scene(plan())
    await it.loop.later(121)
    assert it.tested == "aaabbb"


async def test_use_of_a_group_uses_its_provider(scene):
    it = scene(plan("group g", "ab", interval=600), plan("provider p", "bc"))
    it.health.use([])
    await it.loop.later(121)
    it.health.use(["g"])
    await settle()
    assert it.tested == "abbcc"


async def test_equal_tests_are_shared(scene):
    it = scene(plan("group g", "abc"), plan("group h", "bcd"), plan("group i", "a", url="v"))
    await it.loop.later(61)
    assert it.tested == "aaaabbccdd"


async def test_no_second_round_before_the_first_ended(scene):
    it = scene(plan())
    it.gate.clear()
    await it.loop.later(1)
    first = it.tested
    assert it.health.busy == {"g"}
    it.health.check_now("g")
    await it.loop.later(200)
    it.gate.set()
    await settle()
    assert (first + it.tested, it.changes) == ("ab", 2)
    assert not it.health.busy
    await it.loop.later(60)
    assert it.tested == "ab"


async def test_reload_tests_what_is_new(scene):
    same, gone = plan("group g", "ab"), plan("group h", "cd")
    it = scene(same, gone)
    await it.loop.later(30)
    assert it.tested == "abcd"
    it.configure(same, plan("group h", "ce"), plan("group i", "f"))
    await settle()
    assert it.tested == "cef"
    await it.loop.later(31)
    assert it.tested == "ab"
    it.configure(same, touched="b")
    await settle()
    assert it.tested == "ab"


async def test_stopped(scene):
    it = scene(plan())
    await settle()
    it.health.stop()
    await it.loop.later(1000)
    assert it.tested == "ab"


def test_plans():
    check = HealthCheckSpec("http://p.test/", 100, 3000, False)
    config = Config(
        groups=(
            GroupSpec("g", GroupType.URL_TEST, ("a",), "http://g.test/", 60, True, 2500),
            GroupSpec("s", GroupType.SELECT, ("a",)),
        ),
        proxy_providers=(
            ProxyProviderSpec("p", Vehicle.FILE, members=("x", "y"), health_check=check),
            ProxyProviderSpec("q", Vehicle.FILE),
        ),
    )
    assert plans_of(config) == {
        "group g": ("group g", ("a",), "http://g.test/", 60, 2.5, True),
        "provider p": ("provider p", ("x", "y"), "http://p.test/", 100, 3.0, False),
    }
