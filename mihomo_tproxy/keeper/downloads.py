"""When which sources are downloaded.

As in mihomo: a file that is absent, or older than its interval, at once; then at each interval. One
that failed is tried again, first soon, then less and less often, never less than its interval says.
Every failure is told with its reason, once for each reason in a row.

Invariants: one download of a source at a time, and few at all; every source's task is owned here.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.errors import FetchFailed
from mihomo_tproxy.keeper.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mihomo_tproxy.keeper.sources import Source

    Refresh = Callable[[Source], Awaitable[bool]]
    """Bring a file up to date; whether it is another one. Raises FetchFailed."""

log = logging.getLogger("downloads")

CONCURRENCY: Final = 3
RETRY_S: Final = 15.0
"""After the first failure; doubled with each further one."""
RETRY_CONTENT_S: Final = 300.0
"""The same, after a file came that is of no use: it is not fetched again and again."""
RETRY_MOST_S: Final = 3600.0
"""For what has no interval."""
_NO_USE: Final = frozenset({"content", "http-too-large"})
GATHER_S: Final = 3.0
"""Files that change together are told together, as all are read again for each."""


class Downloads:
    """The sources of one keeper."""

    def __init__(self, refresh: Refresh, refreshed: Callable[[tuple[str, ...]], object]) -> None:
        """`refreshed` hears the names of the files that changed."""
        self._refresh = refresh
        self._refreshed = refreshed
        self._tasks = Tasks()
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._kept: dict[str, _Kept] = {}
        self._changed: set[str] = set()
        self._working = 0
        self._timer: asyncio.TimerHandle | None = None

    def configure(self, sources: dict[str, Source]) -> None:
        """Follow other sources; those that are the same go on as they are."""
        for key in [key for key, kept in self._kept.items() if sources.get(key) != kept.source]:
            self._kept.pop(key).task.cancel()
        for key, source in sources.items():
            if key not in self._kept:
                self._kept[key] = kept = _Kept(source)
                kept.task = self._tasks.spawn(self._keep(kept))

    async def update(self, name: str) -> dict[str, object]:
        """Download what goes by this name now; what came of it.

        Raises:
            FetchFailed: there is no such source, or it could not be done.
        """
        found = [kept for kept in self._kept.values() if kept.source.name == name]
        if not found:
            raise FetchFailed("no-source", f"there is nothing to download that is called {name!r}")
        loop = asyncio.get_running_loop()
        outcomes: list[asyncio.Future[bool]] = []
        for kept in found:
            outcomes.append(loop.create_future())
            kept.waiting.append(outcomes[-1])
            kept.wanted.set()
        results = await asyncio.gather(*outcomes, return_exceptions=True)
        errors = [str(each) for each in results if isinstance(each, BaseException)]
        if errors:
            raise FetchFailed("update", "; ".join(errors))
        return {"changed": any(each is True for each in results)}

    async def close(self) -> None:
        """End what is under way."""
        if self._timer is not None:
            self._timer.cancel()
        await self._tasks.close()
        self._kept.clear()

    async def _keep(self, kept: _Kept) -> None:
        try:
            while True:
                await _either(kept.wanted, kept.due_s())
                kept.wanted.clear()
                async with self._slots:
                    await self._attempt(kept)
        finally:
            kept.answer(FetchFailed("cancelled", "the configuration changed in the meantime"))

    async def _attempt(self, kept: _Kept) -> None:
        source = kept.source
        self._working += 1
        try:
            changed = await self._refresh(source)
        except FetchFailed as error:
            kept.failed(error)
        else:
            kept.succeeded(changed)
            if changed:
                self._changed.add(source.name)
        finally:
            self._working -= 1
            self._gather()

    def _gather(self) -> None:
        """Tell now if nothing is under way, else in a moment."""
        if not self._changed:
            return
        if not self._working:
            self._tell()
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(GATHER_S, self._tell)

    def _tell(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._changed:
            names, self._changed = tuple(sorted(self._changed)), set()
            self._refreshed(names)


class _Kept:
    """One source and what became of it."""

    task: asyncio.Task[None]

    def __init__(self, source: Source) -> None:
        self.source = source
        self.wanted = asyncio.Event()
        """Somebody waits for it."""
        self.waiting: list[asyncio.Future[bool]] = []
        self._failures = 0
        self._retry_s = RETRY_S
        self._reason = ""

    def due_s(self) -> float | None:
        """Seconds until it should be downloaded; None: when somebody wants it."""
        interval = self.source.interval_s
        if self._failures:
            wait = self._retry_s * (1 << min(self._failures - 1, 20))
            return min(wait, interval or RETRY_MOST_S)
        try:
            age = time.time() - os.stat(self.source.path).st_mtime
        except OSError:
            return 0.0
        return min(max(interval - age, 0.0), interval) if interval else None

    def succeeded(self, changed: bool) -> None:
        """It is up to date."""
        if self._failures:
            log.info("%s: downloaded after %d failures", self.source.key, self._failures)
        self._failures, self._reason = 0, ""
        self.answer(changed)

    def failed(self, error: FetchFailed) -> None:
        """It is not."""
        self._failures += 1
        self._retry_s = RETRY_CONTENT_S if error.cause in _NO_USE else RETRY_S
        told = str(error) == self._reason
        self._reason = str(error)
        kept = "the last good file stays" if os.path.exists(self.source.path) else "there is none"
        level = logging.DEBUG if told else logging.WARNING
        log.log(level, "%s: download failed, %s: %s", self.source.key, kept, error)
        self.answer(error)

    def answer(self, outcome: bool | FetchFailed) -> None:
        """Tell who waits."""
        waiting, self.waiting = self.waiting, []
        for each in waiting:
            if each.done():
                continue
            if isinstance(outcome, bool):
                each.set_result(outcome)
            else:
                each.set_exception(FetchFailed(outcome.cause, f"{self.source.key}: {outcome}"))


async def _either(event: asyncio.Event, seconds: float | None) -> None:
    """Wait for an event, or so long."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
