"""IntervalMap against a list that is searched in rank order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mihomo_tproxy.matcher.interval_map import NO_RANK, IntervalMap

POINTS = st.integers(0, 40)
RANGES = st.lists(st.tuples(POINTS, POINTS).map(sorted), max_size=15)


@settings(deadline=None, derandomize=True, max_examples=400)
@given(RANGES, st.randoms(use_true_random=False))
def test_lowest_rank_wins(pairs: list, rng) -> None:
    ranges = [(first, last, rank) for rank, (first, last) in enumerate(pairs)]
    shuffled = ranges.copy()
    rng.shuffle(shuffled)
    flat = IntervalMap(shuffled)
    for point in range(-1, 43):
        covering = [rank for first, last, rank in ranges if first <= point <= last]
        assert flat.find(point) == min(covering, default=NO_RANK)


def test_empty() -> None:
    assert IntervalMap([]).find(0) == NO_RANK
