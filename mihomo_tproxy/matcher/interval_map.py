"""Which of many overlapping ranges of ints comes first in a list: one bisection.

The ranges are flattened once into disjoint pieces, each of which knows the lowest rank that covers
it. Invariants: pieces cover all ints, neighbours differ in rank, `find` is O(log n). Building
is O(n log n) with a heap of the ranges that are open at the sweep line.
"""

from __future__ import annotations

from bisect import bisect_right
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

NO_RANK: Final = 1 << 62
"""Greater than every rank: nothing covers the point."""


class IntervalMap:
    """`(first, last, rank)` triples, both ends included; the lowest rank wins. Immutable."""

    __slots__ = ("_ranks", "_starts")

    def __init__(self, ranges: Iterable[tuple[int, int, int]]) -> None:
        ordered = sorted(ranges)
        points = sorted({edge for first, last, _ in ordered for edge in (first, last + 1)})
        self._starts: list[int] = []
        self._ranks: list[int] = [NO_RANK]
        opened: list[tuple[int, int]] = []
        upcoming = 0
        for point in points:
            while upcoming < len(ordered) and ordered[upcoming][0] == point:
                _, last, rank = ordered[upcoming]
                heappush(opened, (rank, last))
                upcoming += 1
            while opened and opened[0][1] < point:
                heappop(opened)
            rank = opened[0][0] if opened else NO_RANK
            if rank != self._ranks[-1]:
                self._starts.append(point)
                self._ranks.append(rank)

    def find(self, point: int) -> int:
        """The lowest rank whose range holds the point, `NO_RANK` when none does."""
        return self._ranks[bisect_right(self._starts, point)]
