"""How groups choose."""

from __future__ import annotations

from mihomo_tproxy.keeper.choosing import UNKNOWN_MS, choose_fallback, choose_url_test

ABC = ("a", "b", "c")


def test_fastest():
    assert choose_url_test(ABC, {"a": 30, "b": 20, "c": 25}, "") == "b"
    assert choose_url_test(ABC, {"a": 20, "b": 20}, "") == "a"
    assert choose_url_test(ABC, {"a": UNKNOWN_MS, "b": 20}, "") == "b"
    assert choose_url_test(ABC, {}, "c") == "a"


def test_tolerance():
    delays = {"a": 30, "b": 20}
    assert choose_url_test(ABC, delays, "a", 10) == "a"
    assert choose_url_test(ABC, delays, "a", 9) == "b"
    assert choose_url_test(ABC, delays, "c", 1000) == "b"


def test_forced():
    assert choose_url_test(ABC, {"a": 30, "b": 20}, "b", 0, "a") == "a"
    assert choose_url_test(ABC, {"b": 20}, "b", 0, "a") == "b"
    assert choose_fallback(ABC, {"a", "b"}, "b") == "b"
    assert choose_fallback(ABC, {"a"}, "b") == "a"


def test_fallback():
    assert choose_fallback(ABC, {"c", "b"}) == "b"
    assert choose_fallback(ABC, set()) == "a"
