"""The collector is counted and timed; a freeze is not a pause."""

from __future__ import annotations

import gc

from mihomo_tproxy.net.gc_watch import THRESHOLDS, GcWatch


class Ticks:
    """Each reading is half a second later."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 0.5
        return self.now


def test_counts_collections_and_keeps_the_longest():
    watch = GcWatch(Ticks())
    before = gc.get_threshold()
    gc.collect()
    watch.start()
    try:
        assert gc.get_threshold() == THRESHOLDS
        loop: list[object] = []
        loop.append(loop)
        del loop
        gc.collect()
        assert watch.snapshot() == {"collections": 1, "collected": 1, "longest_s": 0.5}
    finally:
        watch.stop()
    assert gc.get_threshold() == before
    gc.collect()
    assert watch.collections == 1


def test_freeze_exempts_what_is_alive_and_is_not_counted():
    watch = GcWatch()
    watch.start()
    try:
        watch.freeze()
        assert gc.get_freeze_count() > 0
        assert watch.collections == 0
        gc.collect()
        assert watch.collections == 1
    finally:
        watch.stop()
        gc.unfreeze()
