"""The last tests of each proxy."""

from __future__ import annotations

from mihomo_tproxy.keeper.history import DEPTH, History, Sample
from mihomo_tproxy.keeper.store import StoredDelay


def test_by_url_and_by_name():
    history = History()
    history.add("a", "u", Sample(1.0, 20, 204))
    history.add("a", "v", Sample(2.0, 0, 0))
    assert history.last("a", "u") == (1.0, 20, 204)
    assert history.last("a", "v") == (2.0, 0, 0)
    assert history.last("b", "u") is None
    assert history.snapshot() == {"a": [(1.0, 20), (2.0, 0)]}


def test_ten_are_kept():
    history = History()
    for number in range(15):
        history.add("a", "u", Sample(float(number), number, 204))
    assert [sample.delay_ms for sample in history.of("a", "u")] == list(range(5, 15))
    assert len(history.snapshot()["a"]) == DEPTH


def test_retain():
    history = History()
    for name in "abc":
        history.add(name, "u", Sample(0.0, 1, 204))
    history.retain({"b"})
    assert list(history.snapshot()) == ["b"]
    assert history.last("a", "u") is None
    assert history.last("b", "u") is not None


def test_over_a_restart():
    history = History()
    history.add("a", "u", Sample(1.0, 20, 204))
    history.add("a", "u", Sample(2.0, 30, 204))
    assert history.stored() == [StoredDelay("a", "u", 2.0, 30, 204)]
    later = History()
    later.restore(history.stored())
    assert later.last("a", "u") == (2.0, 30, 204)
