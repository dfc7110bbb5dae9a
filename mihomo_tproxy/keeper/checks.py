"""Tests of proxies, a few at a time, each (proxy, URL) only once however many ask for it.

Invariants: at most `CONCURRENCY` run (mihomo's number); a test ends within its timeout; who asks
hears exactly once, unless the keeper ends first.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.keeper.history import Sample
from mihomo_tproxy.keeper.probe import Result
from mihomo_tproxy.keeper.tasks import Tasks

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from mihomo_tproxy.keeper.history import History

    Probe = Callable[[str, str, float], Awaitable[Result]]
    """Test the proxy of this name with this URL within so many seconds."""
    Done = Callable[[str, Sample], object]
    """Hears the name of the proxy and what was found."""

log = logging.getLogger("health")

CONCURRENCY: Final = 10


class _Check:
    """One test, waiting or running."""

    __slots__ = ("done", "name", "timeout_s", "url")

    def __init__(self, name: str, url: str, timeout_s: float) -> None:
        self.name = name
        self.url = url
        self.timeout_s = timeout_s
        self.done: list[Done] = []


class Checks:
    """All tests of one keeper; what they find goes into the history."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        history: History,
        probe: Probe,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._loop = loop
        self._history = history
        self.probe = probe
        """How to test; a reload puts another one here."""
        self._wall = wall
        self._queue: deque[_Check] = deque()
        self._pending: dict[tuple[str, str], _Check] = {}
        self._ended: dict[tuple[str, str], float] = {}
        self._tasks = Tasks()

    def request(
        self, name: str, url: str, timeout_s: float, done: Done, since: float | None = None
    ) -> None:
        """Test a proxy with a URL, or wait for the test of it that is under way.

        Args:
            name: the proxy's, or a group's.
            url: what to ask for.
            timeout_s: the longest it may take.
            done: hears the result.
            since: a test that ended at this loop time or later is as good. None: somebody waits
                for it, so it goes before all others.
        """
        key = (name, url)
        known = self._history.last(name, url)
        if since is not None and known and self._ended.get(key, float("-inf")) >= since:
            done(name, known)
            return
        check = self._pending.get(key)
        if check is None:
            check = self._pending[key] = _Check(name, url, timeout_s)
            (self._queue.append if since is not None else self._queue.appendleft)(check)
        check.timeout_s = max(check.timeout_s, timeout_s)
        check.done.append(done)
        self._start_some()

    def forget_times(self) -> None:
        """From now on no test of before is good enough for anybody."""
        self._ended.clear()

    async def close(self) -> None:
        """End what runs; nobody hears of it."""
        self._queue.clear()
        self._pending.clear()
        await self._tasks.close()

    def _start_some(self) -> None:
        while self._queue and len(self._tasks) < CONCURRENCY:
            self._tasks.spawn(self._run(self._queue.popleft())).add_done_callback(self._next)

    def _next(self, _task: object) -> None:
        self._start_some()

    async def _run(self, check: _Check) -> None:
        name, url = check.name, check.url
        result = Result(0, 0, "cancelled")
        try:
            result = await self.probe(name, url, check.timeout_s)
        finally:
            if self._pending.pop((name, url), None) is check:
                self._finish(check, result)

    def _finish(self, check: _Check, result: Result) -> None:
        log.debug("%s, %s: %d ms %s", check.name, check.url, result.delay_ms, result.cause)
        sample = Sample(self._wall(), result.delay_ms, result.status)
        self._history.add(check.name, check.url, sample)
        self._ended[check.name, check.url] = self._loop.time()
        for done in check.done:
            done(check.name, sample)
