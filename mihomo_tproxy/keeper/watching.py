"""Files of `file` providers that somebody changes: they are read again, as in mihomo.

Looked at every two seconds (stat(2)), which also sees files that are replaced, or on file systems
that send no events. A change counts once the file was the same for two looks: who writes it may not
be done yet.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.config.specs.provider import Vehicle

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from mihomo_tproxy.config.schema import Config

LOOK_S: Final = 2.0

Appearance = tuple[int, int, int]
"""inode, size and time of modification; zeros for a file that is not there."""


def files_of(config: Config) -> dict[str, tuple[str, ...]]:
    """The path of each such file, and the providers that read it."""
    found: dict[str, tuple[str, ...]] = {}
    for provider in (*config.rule_providers, *config.proxy_providers):
        if provider.vehicle is Vehicle.FILE:
            found[provider.path] = (*found.get(provider.path, ()), provider.name)
    return found


class Watching:
    """The files of one configuration."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, changed: Callable[[tuple[str, ...]], object]
    ) -> None:
        """`changed` hears the names of providers."""
        self._loop = loop
        self._changed = changed
        self._files: dict[str, tuple[str, ...]] = {}
        self._read: dict[str, Appearance] = {}
        self._seen: dict[str, Appearance] = {}
        self._timer: asyncio.TimerHandle | None = None

    def configure(self, files: dict[str, tuple[str, ...]]) -> None:
        """Watch other files; they have just been read as they are."""
        self._files = files
        self._read = {path: self._read.get(path, _look(path)) for path in files}
        self._seen = dict(self._read)
        self.close()
        if files:
            self._timer = self._loop.call_later(LOOK_S, self._on_time)

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def look(self) -> None:
        """Compare with the last look, and with what was read."""
        names: set[str] = set()
        for path, providers in self._files.items():
            now = _look(path)
            if now == self._seen[path] != self._read[path]:
                self._read[path] = now
                names.update(providers)
            self._seen[path] = now
        if names:
            self._changed(tuple(sorted(names)))

    def _on_time(self) -> None:
        self._timer = self._loop.call_later(LOOK_S, self._on_time)
        self.look()


def _look(path: str) -> Appearance:
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_size, found.st_mtime_ns)
