"""Ranges of numbers or addresses with ranked values, flat: sorted starts, and one bisection.

Overlapping ranges are flattened once into disjoint pieces, each with the value (`matcher.ranked`)
of the ranks that cover it. Invariants: pieces cover all numbers, starts ascend strictly, neighbours
differ in value; `find` is O(log n). Building is O(n log n): where ranges overlap, a heap holds
those that are open at the sweep line.

Addresses are 128-bit keys (`model.address`); those of IPv4 have an array of 32-bit starts, the
others two of 64 bits. For IPv4 a directory by leading bits says between which starts to bisect.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final, NamedTuple

from mihomo_tproxy.matcher.ranked import NO_VALUE
from mihomo_tproxy.model.address import V4_MAPPED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mihomo_tproxy.matcher.ranked import OneRank, Ranking
    from mihomo_tproxy.matcher.sections import Sections, SectionWriter

Range = tuple[int, int, int]
"""(first, last, rank), both ends included."""
_V4_LAST: Final = V4_MAPPED | 0xFFFFFFFF
_PER_ENTRY_BITS: Final = 3
_MAX_DIRECTORY_BITS: Final = 16
_LOW: Final = (1 << 64) - 1


class NumberLayout(NamedTuple):
    """A table of numbers below 2**32."""

    starts: int
    values: int


class AddressLayout(NamedTuple):
    """A table of addresses."""

    v4: NumberLayout
    directory: int
    """The number of IPv4 starts below each value of the leading bits, then of all."""
    shift: int
    """How many bits of an IPv4 address follow those."""
    high: int
    low: int
    values: int


def flatten(ranges: Iterable[Range], ranking: Ranking | OneRank) -> tuple[list[int], list[int]]:
    """The starts of the pieces and their values; what lies before the first start has none."""
    ordered = sorted(ranges)
    starts: list[int] = []
    values: list[int] = []
    place, count = 0, len(ordered)
    end, before = -1, NO_VALUE
    while place < count:
        first, last, value = ordered[place]
        if end < first and before != NO_VALUE:
            starts.append(end)
            values.append(NO_VALUE)
            before = NO_VALUE
        place += 1
        if place == count or ordered[place][0] > last:
            # Most ranges touch no other.
            if value != before:
                starts.append(first)
                values.append(value)
                before = value
            end = last + 1
            continue
        reach, begin = last, place - 1
        while place < count and ordered[place][0] <= reach:
            reach = max(reach, ordered[place][1])
            place += 1
        for start, value in _sweep(ordered[begin:place], ranking):
            if value != before:
                starts.append(start)
                values.append(value)
                before = value
        end = reach + 1
    if before != NO_VALUE:
        starts.append(end)
        values.append(NO_VALUE)
    return starts, values


def _sweep(ordered: list[Range], ranking: Ranking | OneRank) -> Iterator[tuple[int, int]]:
    """Where the value of overlapping ranges without a gap may change, and to what."""
    points = sorted({first for first, _, _ in ordered} | {last + 1 for _, last, _ in ordered})
    points.pop()
    opened: list[tuple[int, int]] = []
    upcoming, count = 0, len(ordered)
    for point in points:
        while upcoming < count and ordered[upcoming][0] == point:
            _, last, rank = ordered[upcoming]
            heappush(opened, (rank, last))
            upcoming += 1
        while opened[0][1] < point:
            heappop(opened)
        yield point, _value(opened, point, ranking)


def _value(opened: list[tuple[int, int]], point: int, ranking: Ranking | OneRank) -> int:
    rank = opened[0][0]
    if len(opened) == 1 or not ranking.may_pass(rank):
        return rank
    ranks = sorted({rank for rank, last in opened if last >= point})
    return ranking.value_of(ranks)


def write_numbers(
    writer: SectionWriter, ranges: Iterable[Range], ranking: Ranking | OneRank
) -> NumberLayout:
    """A table of numbers below 2**32."""
    return _write(writer, *_numbers(ranges, ranking))


def _numbers(ranges: Iterable[Range], ranking: Ranking | OneRank) -> tuple[list[int], list[int]]:
    starts, values = flatten(ranges, ranking)
    if starts and starts[-1] > 0xFFFFFFFF:
        del starts[-1], values[-1]
    return starts, values


def _write(writer: SectionWriter, starts: list[int], values: list[int]) -> NumberLayout:
    return NumberLayout(
        writer.add(array("I", starts).tobytes()), writer.add(array("I", values).tobytes())
    )


def _directory(starts: list[int], shift: int) -> Iterator[int]:
    return (bisect_left(starts, head << shift) for head in range((1 << (32 - shift)) + 1))


def write_addresses(
    writer: SectionWriter, ranges: Iterable[Range], ranking: Ranking | OneRank
) -> AddressLayout:
    """A table of addresses; a range may reach over both families."""
    v4: list[Range] = []
    v6: list[Range] = []
    for first, last, rank in ranges:
        if first <= _V4_LAST and last >= V4_MAPPED:
            low, high = max(first, V4_MAPPED), min(last, _V4_LAST)
            v4.append((low - V4_MAPPED, high - V4_MAPPED, rank))
            if first < V4_MAPPED:
                v6.append((first, V4_MAPPED - 1, rank))
            if last > _V4_LAST:
                v6.append((_V4_LAST + 1, last, rank))
        else:
            v6.append((first, last, rank))
    starts, values = flatten(v6, ranking)
    if starts and starts[-1] >> 128:
        del starts[-1], values[-1]
    v4_starts, v4_values = _numbers(v4, ranking)
    shift = 32 - min(max(len(v4_starts).bit_length() - _PER_ENTRY_BITS, 0), _MAX_DIRECTORY_BITS)
    return AddressLayout(
        _write(writer, v4_starts, v4_values),
        writer.add(array("I", _directory(v4_starts, shift)).tobytes()),
        shift,
        writer.add(array("Q", [start >> 64 for start in starts]).tobytes()),
        writer.add(array("Q", [start & _LOW for start in starts]).tobytes()),
        writer.add(array("I", values).tobytes()),
    )


class NumberTable:
    """Looks numbers up."""

    __slots__ = ("_starts", "_values")

    def __init__(self, sections: Sections, layout: NumberLayout) -> None:
        self._starts = sections.array(layout.starts, "I")
        self._values = sections.array(layout.values, "I")

    def find(self, number: int) -> int:
        """The value of a number, `NO_VALUE` without one."""
        place = bisect_right(self._starts, number)
        return self._values[place - 1] if place else NO_VALUE


class AddressTable:
    """Looks addresses up."""

    __slots__ = ("_directory", "_high", "_low", "_shift", "_v4_starts", "_v4_values", "_values")

    def __init__(self, sections: Sections, layout: AddressLayout) -> None:
        self._v4_starts = sections.array(layout.v4.starts, "I")
        self._v4_values = sections.array(layout.v4.values, "I")
        self._directory = sections.array(layout.directory, "I")
        self._shift = layout.shift
        self._high = sections.array(layout.high, "Q")
        self._low = sections.array(layout.low, "Q")
        self._values = sections.array(layout.values, "I")

    def find(self, key: int) -> int:
        """The value of an address key, `NO_VALUE` without one."""
        if key >> 32 == 0xFFFF:
            address = key & 0xFFFFFFFF
            head = address >> self._shift
            first, last = self._directory[head], self._directory[head + 1]
            place = bisect_right(self._v4_starts, address, first, last)
            return self._v4_values[place - 1] if place else NO_VALUE
        high = key >> 64
        last = bisect_right(self._high, high)
        first = bisect_left(self._high, high, 0, last)
        place = bisect_right(self._low, key & _LOW, first, last)
        return self._values[place - 1] if place else NO_VALUE
