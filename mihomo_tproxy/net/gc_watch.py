"""The garbage collector, kept out of the flow path and watched (gc.callbacks).

Flows leave no cycles, so reference counts free them; what start-up built is frozen, so that a
collection walks only what is young. The counters show whether that holds.
"""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

THRESHOLDS: Final = (20_000, 50, 100)
"""Rarer than Python's 700, 10, 10: each live flow is a container, and none is garbage."""


class GcWatch:
    """Counts collections and keeps the longest one, from `start` to `stop`."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.collections = 0
        self.collected = 0
        """Objects found in cycles: 0 means the flow path makes none."""
        self.longest_s = 0.0
        self._clock = clock
        self._began = 0.0
        self._thresholds = gc.get_threshold()

    def start(self) -> None:
        """Begin to watch, with the thresholds of a relay."""
        self._thresholds = gc.get_threshold()
        gc.set_threshold(*THRESHOLDS)
        gc.callbacks.append(self._observe)

    def stop(self) -> None:
        """Stop watching and restore the thresholds."""
        gc.callbacks.remove(self._observe)
        gc.set_threshold(*self._thresholds)

    def freeze(self) -> None:
        """Collect, then exempt everything alive from later collections; not counted as a pause.

        Called after start-up and after a reload, when rules are built and nobody waits. What is
        frozen stays so: it goes by reference count, and a collector that walked the objects a
        worker inherited would copy every page that it shares with its parent.
        """
        gc.callbacks.remove(self._observe)
        try:
            gc.collect()
            gc.freeze()
        finally:
            gc.callbacks.append(self._observe)

    def snapshot(self) -> dict[str, float]:
        """The counters: collections, objects collected, longest pause in seconds."""
        return {
            "collections": self.collections,
            "collected": self.collected,
            "longest_s": self.longest_s,
        }

    def _observe(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            self._began = self._clock()
            return
        self.collections += 1
        self.collected += info["collected"]
        self.longest_s = max(self.longest_s, self._clock() - self._began)
