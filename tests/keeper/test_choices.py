"""What groups choose, from selections and tests."""

from __future__ import annotations

import pytest

from mihomo_tproxy.config.specs.group import GroupSpec, GroupType
from mihomo_tproxy.keeper.choices import Choices
from mihomo_tproxy.keeper.history import History, Sample

URL = "http://u.test/"
ABC = ("a", "b", "c")


def group(kind, name="g", members=ABC, **options):
    return GroupSpec(name, GroupType(kind), members, url=URL, **options)


def results(**delays):
    """A history of one test each; `None` failed, (delay, status) was answered with that."""
    history = History()
    for name, found in delays.items():
        delay, status = found if isinstance(found, tuple) else (found or 0, 204 if found else 0)
        history.add(name, URL, Sample(0.0, delay, status))
    return history


def choices(*groups, history=None, selected=None, now=None):
    return Choices(groups, history or History(), selected or {}, now or {})


def test_select():
    assert choices(group("select")).now("g") == "a"
    assert choices(group("select"), selected={"g": "c"}).now("g") == "c"
    assert choices(group("select"), selected={"g": "gone", "h": "a"}).now("g") == "a"
    both = choices(group("select"), selected={"g": "b"}, now={"g": "c"})
    assert both.now("g") == "c"


def test_select_does_not_care_for_tests():
    history = results(a=None, b=10)
    assert choices(group("select"), history=history, selected={"g": "a"}).now("g") == "a"


def test_select_begins_with_its_default():
    assert choices(group("select", default_selected="b")).now("g") == "b"


def test_a_beginning_is_no_news():
    made = choices(group("select"), group("fallback", "f"), group("load-balance", "l"))
    assert made.state == ({}, {})
    assert [made.now(name) for name in "gfl"] == ["a", "a", ""]
    made.select("g", "a")
    assert made.state.now == {"g": "a"}


def test_url_test_keeps_what_an_earlier_process_chose():
    assert choices(group("url-test"), now={"g": "b"}).now("g") == "b"
    assert choices(group("url-test"), now={"g": "gone"}).now("g") == "a"


def test_url_test_follows_the_tests():
    made = choices(group("url-test", tolerance_ms=50), history=(history := results(b=100)))
    assert made.now("g") == "b"
    history.add("a", URL, Sample(1.0, 60, 204))
    assert not made.refresh()
    history.add("c", URL, Sample(1.0, 40, 204))
    assert made.refresh()
    assert made.now("g") == "c"
    history.add("c", URL, Sample(2.0, 0, 0))
    assert made.refresh()
    assert made.now("g") == "a"


def test_url_test_waits_for_all_members():
    history = results(a=50)
    made = choices(group("url-test"), history=history, now={"g": "a"})
    history.add("b", URL, Sample(1.0, 10, 204))
    assert not made.refresh(busy={"g"})
    history.add("a", URL, Sample(1.0, 0, 0))
    assert made.refresh(busy={"g"})
    assert made.now("g") == "b"
    history.add("c", URL, Sample(1.0, 5, 204))
    assert not made.refresh(busy={"g"})
    assert made.refresh()
    assert made.now("g") == "c"
    history.add("b", URL, Sample(2.0, 1, 204))
    made.select("g", "a")
    history.add("a", URL, Sample(2.0, 90, 204))
    made.refresh(busy={"g"})
    assert made.now("g") == "a"


def test_expected_status():
    history = results(a=(10, 302), b=(20, 204))
    assert choices(group("url-test"), history=history).now("g") == "a"
    strict = group("url-test", expected_status="204")
    made = choices(strict, history=history)
    assert made.now("g") == "b"
    assert not made.alive(strict, "a")
    assert made.alive(strict, "c")


def test_fallback():
    assert choices(group("fallback")).now("g") == "a"
    assert choices(group("fallback"), history=results(a=None)).now("g") == "b"
    dead = results(a=None, b=None, c=None)
    assert choices(group("fallback"), history=dead).now("g") == "a"


def test_load_balance_tells_the_dead():
    made = choices(group("load-balance"), history=results(a=None, b=10))
    assert made.state == ({}, {"g": frozenset("a")})


def test_fixed_while_it_lives():
    for kind in ("url-test", "fallback"):
        history = results(a=10, b=10, c=10)
        made = choices(group(kind), history=history, selected={"g": "c"})
        assert made.now("g") == "c"
        history.add("c", URL, Sample(1.0, 0, 0))
        made.refresh()
        assert made.now("g") == "a"
        # url-test returns to it when it lives again; fallback has forgotten it, as in mihomo.
        assert made.selected == ({"g": "c"} if kind == "url-test" else {})


def test_a_dead_one_is_fixed_until_a_test_says_it_is_dead_still():
    history = results(a=10, b=None)
    fallback = choices(group("fallback"), history=history)
    fallback.select("g", "b")
    fallback.refresh()
    assert fallback.state.now == {"g": "b"}
    history.add("b", URL, Sample(1.0, 0, 0))
    fallback.refresh()
    assert fallback.state.now == {"g": "a"}


def test_selecting():
    made = choices(group("select"), group("url-test", "h"), group("load-balance", "l"))
    made.select("g", "b")
    made.select("h", "c")
    made.refresh()
    assert made.state.now == {"g": "b", "h": "c"}
    assert made.selected == {"g": "b", "h": "c"}
    made.select("h", "")
    made.refresh()
    assert made.selected == {"g": "b"}
    for name, member in (("x", "a"), ("g", "x"), ("l", "a")):
        with pytest.raises(ValueError, match=name):
            made.select(name, member)


def test_used_by_way_of_others():
    made = choices(
        group("select", "top", ("mid", "other")),
        group("load-balance", "mid", ("low", "a")),
        group("url-test", "low"),
        group("url-test", "other"),
    )
    assert made.used(["top", "unknown"]) == {"top", "mid", "low"}
    assert made.group("low").members == ABC
    assert made.group("a") is None
