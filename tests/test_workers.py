"""Workers that do not run yet, or any more."""

from __future__ import annotations

from mihomo_tproxy.workers import Workers


def test_a_worker_that_never_ran_is_due_at_once(tmp_path):
    assert Workers(tmp_path, 2).next_start_ms() == 0


def test_stop_without_processes_returns(tmp_path):
    workers = Workers(tmp_path, 3)
    workers.stop()
    assert workers.next_start_ms() == 0
