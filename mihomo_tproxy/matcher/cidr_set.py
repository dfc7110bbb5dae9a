"""Membership of an address in many prefixes: sorted, disjoint ranges of keys and one bisection.

Invariants: `starts` ascends strictly, ranges neither overlap nor touch, so the set of one family's
whole space is one range. Look-up is O(log n); building is O(n log n).
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mihomo_tproxy.matcher.cidr import Prefix


class CidrSet:
    """The union of prefixes. Immutable, picklable."""

    __slots__ = ("_ends", "_starts")

    def __init__(self, prefixes: Iterable[Prefix] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._join(sorted([(prefix.key, prefix.last) for prefix in prefixes]))

    @classmethod
    def of_ranges(cls, ranges: Iterable[tuple[int, int]]) -> CidrSet:
        """The union of ranges of keys, both ends included, in any order."""
        union = cls()
        union._join(sorted(ranges))
        return union

    @classmethod
    def of_range(cls, first: int, last: int) -> CidrSet:
        """One range of keys, both ends included."""
        found = cls.__new__(cls)
        found._starts = [first]
        found._ends = [last]
        return found

    def ranges(self) -> Iterator[tuple[int, int]]:
        """The disjoint ranges, ascending, both ends included."""
        return zip(self._starts, self._ends, strict=True)

    def _join(self, ordered: Iterable[tuple[int, int]]) -> None:
        starts, ends = self._starts, self._ends
        for first, last in ordered:
            if ends and first <= ends[-1] + 1:
                ends[-1] = max(ends[-1], last)
            else:
                starts.append(first)
                ends.append(last)

    def __contains__(self, key: int) -> bool:
        place = bisect_right(self._starts, key) - 1
        return place >= 0 and key <= self._ends[place]

    def __len__(self) -> int:
        """The number of disjoint ranges."""
        return len(self._starts)
