"""Names to addresses for what the relay itself dials: proxy servers, and names DIRECT is asked for.

`hosts` first, then the system's resolver (getaddrinfo(3)) on the loop's threads, whose answers
carry no TTL: they are kept for a minute, failures for a few seconds.

Invariants: one question per name is under way, however many wait for it; a question ends after
TIMEOUT_S; the cache is bounded.
"""

from __future__ import annotations

import asyncio
import time
from socket import SOCK_STREAM, gaierror
from typing import TYPE_CHECKING, Final, Protocol

from mihomo_tproxy.matcher.domain_map import DomainMap
from mihomo_tproxy.net.sockopt import is_literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mihomo_tproxy.config.schema import HostEntry

TIMEOUT_S: Final = 5.0
KEEP_S: Final = 60.0
KEEP_FAILURE_S: Final = 5.0
CACHE_LIMIT: Final = 1024
ALIAS_LIMIT: Final = 8

Resolved = tuple[str, ...]
"""IP literals, best first; () when there are none."""


class Resolver(Protocol):
    """Who knows addresses."""

    def resolve(self, host: str, done: Callable[[Resolved], object]) -> None:
        """Call `done` with the host's addresses: at once if they are known, () on failure."""

    def in_hosts(self, host: str) -> tuple[str, Resolved]:
        """What `hosts` makes of a name: itself or whom it stands for, and fixed addresses."""


class SystemResolver:
    """The system's resolver with a cache; lives on one event loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        hosts: Mapping[str, HostEntry] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loop = loop
        self._hosts = DomainMap(hosts or {})
        self._clock = clock
        self._cache: dict[str, tuple[float, Resolved]] = {}
        self._waiting: dict[str, list[Callable[[Resolved], object]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def resolve(self, host: str, done: Callable[[Resolved], object]) -> None:
        """Call `done` with the host's addresses: at once if they are known, () on failure."""
        if is_literal(host):
            done((host,))
            return
        name, addresses = self.in_hosts(host)
        if not addresses:
            kept = self._cache.get(name)
            if kept is None or kept[0] <= self._clock():
                self._ask(name, done)
                return
            addresses = kept[1]
        done(addresses)

    def in_hosts(self, host: str) -> tuple[str, Resolved]:
        """The name to ask for after aliases, and the addresses if `hosts` has them."""
        name = host.lower().rstrip(".")
        for _ in range(ALIAS_LIMIT):
            entry = self._hosts.get(name)
            if entry is None:
                break
            if entry.addresses:
                return name, tuple(entry.addresses)
            name = entry.alias
        return name, ()

    def close(self) -> None:
        """Let go of questions under way; nobody is called any more."""
        self._waiting.clear()
        for task in self._tasks:
            task.cancel()

    def _ask(self, name: str, done: Callable[[Resolved], object]) -> None:
        waiting = self._waiting.get(name)
        if waiting is not None:
            waiting.append(done)
            return
        self._waiting[name] = [done]
        task = self._loop.create_task(self._look_up(name))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look_up(self, name: str) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                found = await self._loop.getaddrinfo(name, None, type=SOCK_STREAM)
        except (gaierror, OSError, UnicodeError, TimeoutError):
            found = []
        addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
        if len(self._cache) >= CACHE_LIMIT:
            del self._cache[next(iter(self._cache))]
        keep = KEEP_S if addresses else KEEP_FAILURE_S
        self._cache[name] = (self._clock() + keep, addresses)
        for done in self._waiting.pop(name, ()):
            done(addresses)
