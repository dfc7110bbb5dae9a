"""Keys of flows, and where they fall: the same every time, and moved as little as can be."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.flows import metadata

from mihomo_tproxy.group.hashing import destination_of, jump, key_of, place_of, site_of

KEYS = [key_of(f"site-{number}.example") for number in range(2000)]


@pytest.mark.parametrize(
    ("host", "site"),
    [
        ("example.com", "example.com"),
        ("a.b.example.com", "example.com"),
        ("www.example.co.uk", "example.co.uk"),
        ("a.www.example.com.au", "example.com.au"),
        ("example.co.uk", "example.co.uk"),
        ("www.example.de", "example.de"),
        ("localhost", "localhost"),
        ("a.b.co.example", "co.example"),
    ],
)
def test_sites(host, site):
    assert site_of(host) == site


def test_where_a_flow_goes():
    assert destination_of(metadata("192.0.2.7", host="www.example.com")) == "example.com"
    assert destination_of(metadata("192.0.2.7")) == "192.0.2.7"
    assert destination_of(None) == ""


def test_the_paper_s_places():
    """The code of arXiv:1406.2294, figure 1, compiled: the low end, the high end, and one place."""
    assert [jump(key, 1) for key in (0, 1, 2**64 - 1)] == [0, 0, 0]
    assert [jump(key, 10) for key in (0, 1, 2**64 - 1, 0xDEADBEEF)] == [0, 6, 9, 5]
    assert [jump(key, 1000) for key in (0, 1, 2**64 - 1, 0xDEADBEEF)] == [0, 549, 313, 285]


@given(st.integers(0, 2**64 - 1), st.integers(1, 500))
def test_one_more_place_only_takes(key, count):
    before, after = jump(key, count), jump(key, count + 1)
    assert 0 <= before < count
    assert after in (before, count)


def test_places_are_even():
    counts = [0] * 10
    for key in KEYS:
        counts[jump(key, 10)] += 1
    assert min(counts) > 140
    assert max(counts) < 260


def living(count, dead):
    return [place for place in range(count) if place not in dead]


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.sets(st.integers(0, 29)))
def test_a_living_member_is_found_and_who_had_one_stays(key, count, dead):
    alive = living(count, dead)
    assume(alive)
    place = place_of(key, count, alive, dead)
    assert place in alive
    home = jump(key, count)
    assert home in dead or place == home


def test_only_the_keys_of_a_dead_member_move_and_they_spread():
    before = [place_of(key, 5, living(5, ()), ()) for key in KEYS]
    after = [place_of(key, 5, living(5, {2}), {2}) for key in KEYS]
    moved = [new for old, new in zip(before, after, strict=True) if old != new]
    assert len(moved) == before.count(2)
    assert all(moved.count(place) > len(moved) // 8 for place in (0, 1, 3, 4))


def test_with_few_alive_the_keys_still_spread():
    alive = [17, 18]
    dead = set(range(20)) - set(alive)
    places = [place_of(key, 20, alive, dead) for key in KEYS]
    assert min(places.count(17), places.count(18)) > 600


def test_with_none_alive_it_is_the_first():
    assert {place_of(key, 4, [], {0, 1, 2, 3}) for key in KEYS} == {0}
