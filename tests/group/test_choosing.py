"""Which member a checked group takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mihomo_tproxy.group.choosing import UNKNOWN_MS, choose_fallback, choose_url_test

ABC = ("a", "b", "c")


@pytest.mark.parametrize(
    ("delays", "current", "tolerance", "choice"),
    [
        ({"a": 30, "b": 20, "c": 40}, "", 0, "b"),
        ({"a": 30, "b": 20, "c": 40}, "a", 9, "b"),
        ({"a": 30, "b": 20, "c": 40}, "a", 10, "a"),
        ({"a": 20, "b": 20, "c": 20}, "", 0, "a"),
        ({"a": 20, "b": 20, "c": 20}, "c", 0, "c"),
        ({"b": 20, "c": 40}, "a", 500, "b"),
        ({"a": 0, "c": 40}, "a", 500, "c"),
        ({"b": 20, "c": 40}, "gone", 500, "b"),
        ({}, "b", 0, "a"),
        (dict.fromkeys(ABC, UNKNOWN_MS), "", 0, "a"),
        ({"a": UNKNOWN_MS, "b": 3000}, "a", 0, "b"),
    ],
)
def test_url_test(delays, current, tolerance, choice):
    assert choose_url_test(ABC, delays, current, tolerance) == choice


def test_what_is_fixed_is_taken_while_it_is_alive():
    delays = {"a": 10, "c": 900}
    assert choose_url_test(ABC, delays, "a", 0, forced="c") == "c"
    assert choose_url_test(ABC, delays, "c", 0, forced="b") == "a"
    assert choose_url_test(ABC, delays, "a", 0, forced="gone") == "a"
    assert choose_fallback(ABC, {"a", "c"}, "c") == "c"
    assert choose_fallback(ABC, {"a", "c"}, "b") == "a"
    assert choose_fallback(ABC, {"a", "gone"}, "gone") == "a"


@pytest.mark.parametrize(
    ("alive", "choice"), [({"a", "b"}, "a"), ({"c", "b"}, "b"), ({"c"}, "c"), (set(), "a")]
)
def test_fallback(alive, choice):
    assert choose_fallback(ABC, alive) == choice


_DELAYS = st.dictionaries(st.sampled_from("abcde"), st.integers(0, 5000))


@given(
    st.lists(st.sampled_from("abcde"), min_size=1),
    _DELAYS,
    st.sampled_from(("", *"abcdef")),
    st.integers(0, 1000),
)
def test_url_test_never_takes_a_dead_one_while_another_lives(members, delays, current, tolerance):
    choice = choose_url_test(members, delays, current, tolerance)
    assert choice in members
    alive = [delays[name] for name in members if delays.get(name)]
    if alive:
        assert min(alive) <= delays[choice] <= min(alive) + tolerance
    assert choose_url_test(members, delays, choice, tolerance) == choice
