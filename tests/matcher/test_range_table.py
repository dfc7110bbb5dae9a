"""Flat ranges against a list that is searched in rank order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mihomo_tproxy.matcher.range_table import (
    AddressTable,
    NumberTable,
    write_addresses,
    write_numbers,
)
from mihomo_tproxy.matcher.ranked import LISTED, NO_VALUE, OneRank, Ranking
from mihomo_tproxy.matcher.sections import Sections, SectionWriter
from mihomo_tproxy.model.address import V4_MAPPED

POINTS = st.integers(0, 40)
RANGES = st.lists(st.tuples(POINTS, POINTS).map(sorted), max_size=15)
EDGES = (0, 1, 1 << 64, V4_MAPPED - 1, V4_MAPPED, V4_MAPPED + 7, V4_MAPPED | 0xFFFFFFFF)
KEYS = st.sampled_from(
    [*EDGES, (V4_MAPPED | 0xFFFFFFFF) + 1, (1 << 128) - 1, 5 << 64, 5 << 64 | 9, (5 << 64) - 1]
)
PROFILE = settings(deadline=None, derandomize=True, max_examples=400)


def ranks_of(value: int, ranking: Ranking) -> tuple[int, ...]:
    if value == NO_VALUE:
        return ()
    return ranking.lists[value - LISTED] if value >= LISTED else (value,)


def wanted(covering: list[int], targets: list[int], passable: frozenset[int]) -> tuple[int, ...]:
    """The ranks that can matter, in order: no target twice, none after one that always takes."""
    found: list[int] = []
    for rank in covering:
        if targets[rank] not in [targets[each] for each in found]:
            found.append(rank)
            if targets[rank] not in passable:
                break
    return tuple(found)


@PROFILE
@given(RANGES, st.lists(st.integers(0, 4), min_size=15, max_size=15), st.randoms())
def test_numbers(pairs: list, targets: list[int], rng) -> None:
    ranges = [(first, last, rank) for rank, (first, last) in enumerate(pairs)]
    shuffled = ranges.copy()
    rng.shuffle(shuffled)
    passable = frozenset({0, 2})
    ranking, writer = Ranking(targets, passable), SectionWriter()
    layout = write_numbers(writer, shuffled, ranking)
    table = NumberTable(Sections(writer.finish(b"")), layout)
    for point in range(43):
        covering = [rank for first, last, rank in ranges if first <= point <= last]
        assert ranks_of(table.find(point), ranking) == wanted(covering, targets, passable)


@PROFILE
@given(st.lists(st.tuples(KEYS, KEYS).map(sorted), max_size=12))
def test_addresses_of_both_families(pairs: list) -> None:
    ranges = [(first, last, rank) for rank, (first, last) in enumerate(pairs)]
    ranking, writer = Ranking(list(range(len(pairs))), frozenset()), SectionWriter()
    layout = write_addresses(writer, ranges, ranking)
    table = AddressTable(Sections(writer.finish(b"")), layout)
    near = {edge for pair in pairs for edge in pair}
    near |= {edge + step for edge in near for step in (-1, 1)} | set(EDGES)
    for key in near:
        if 0 <= key < 1 << 128:
            covering = [rank for first, last, rank in ranges if first <= key <= last]
            assert table.find(key) == min(covering, default=NO_VALUE)


def test_the_highest_number() -> None:
    writer = SectionWriter()
    layout = write_numbers(writer, [(7, 0xFFFFFFFF, 0)], OneRank())
    table = NumberTable(Sections(writer.finish(b"")), layout)
    assert [table.find(number) for number in (6, 7, 0xFFFFFFFF)] == [NO_VALUE, 0, 0]


def test_many_addresses_of_ipv4_are_found_by_the_directory() -> None:
    writer = SectionWriter()
    first = [V4_MAPPED | number * 0x9E3779 & 0xFFFFFF00 for number in range(1, 3000)]
    ranges = [(start, start + 9, rank) for rank, start in enumerate(sorted(set(first)))]
    ranges.append((V4_MAPPED | 0xFFFFFFF0, V4_MAPPED | 0xFFFFFFFF, len(ranges)))
    layout = write_addresses(writer, ranges, OneRank())
    assert layout.shift < 32 - 8
    table = AddressTable(Sections(writer.finish(b"")), layout)
    for start, last, rank in ranges:
        assert [table.find(key) for key in (start, last)] == [rank, rank]
        assert table.find(start - 1) == NO_VALUE
    assert table.find(V4_MAPPED) == NO_VALUE
