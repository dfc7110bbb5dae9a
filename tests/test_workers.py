"""Workers that do not run yet, or any more."""

from __future__ import annotations

import socket
import threading

import pytest

from mihomo_tproxy.messages import Setup, receive_message, send_message
from mihomo_tproxy.model.group_state import EMPTY_STATE
from mihomo_tproxy.workers import WorkerRefused, Workers


def test_a_worker_that_never_ran_is_due_at_once(tmp_path):
    assert Workers(tmp_path, 2).next_start_ms() == 0


def test_stop_without_processes_returns(tmp_path):
    workers = Workers(tmp_path, 3)
    workers.stop()
    assert workers.next_start_ms() == 0


def test_a_worker_that_refuses_a_reload_is_not_killed(tmp_path):
    workers = Workers(tmp_path, 1)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(10)
        workers._workers[0].control = ours

        def refuse():
            receive_message(theirs)
            send_message(theirs, ("refused", "no such certificate"))

        thread = threading.Thread(target=refuse)
        thread.start()
        with pytest.raises(WorkerRefused, match="worker 0: no such certificate"):
            workers.reload(Setup(b"", 1, (), EMPTY_STATE), -1)
        thread.join()
