"""Workers that do not run yet, or any more."""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import ExitStack, contextmanager, suppress

import pytest

from mihomo_tproxy.messages import LENGTH, Setup, receive_message, send_message
from mihomo_tproxy.model.group_state import EMPTY_STATE
from mihomo_tproxy.workers import WorkerRefused, Workers


def test_a_worker_that_never_ran_is_due_at_once(tmp_path):
    assert Workers(tmp_path, 2).next_start_ms() == 0


def test_stop_without_processes_returns(tmp_path):
    workers = Workers(tmp_path, 3)
    workers.stop()
    assert workers.next_start_ms() == 0


SETUP = Setup(b"", 1, (), EMPTY_STATE)


@contextmanager
def running(workers, *answers):
    """Processes whose part of the talk is a thread's, each with one answer."""
    with ExitStack() as stack:
        for worker, answer in zip(workers._workers, answers, strict=True):
            ours, theirs = socket.socketpair()
            stack.enter_context(theirs)
            ours.settimeout(10)
            worker.control = stack.enter_context(ours)
            worker.pid = os.fork()
            if worker.pid == 0:
                signal.pause()
                os._exit(0)
            stack.callback(end, worker.pid)

            def reply(theirs=theirs, answer=answer):
                if receive_message(theirs) is not None:
                    send_message(theirs, answer)

            thread = threading.Thread(target=reply)
            thread.start()
            stack.callback(thread.join)
            stack.callback(hang_up, ours)
        yield


def hang_up(sock):
    with suppress(OSError):
        sock.shutdown(socket.SHUT_WR)


def end(pid):
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def killed(worker):
    """Whether it was, before anything else could end it."""
    return os.WIFSIGNALED(os.waitpid(worker.pid, 0)[1])


def test_a_worker_that_refuses_a_reload_is_not_killed(tmp_path):
    workers = Workers(tmp_path, 2)
    with running(workers, ("refused", "no such certificate"), ("reloaded", 1)):
        with pytest.raises(WorkerRefused, match="worker 0: no such certificate"):
            workers.reload(SETUP, -1)
        assert os.waitpid(workers._workers[0].pid, os.WNOHANG) == (0, 0)


@pytest.mark.parametrize("change", ["regroup", "restore"])
def test_a_worker_that_refuses_what_has_to_be_is_replaced(tmp_path, change):
    workers = Workers(tmp_path, 2)
    workers.setup = SETUP
    answer = "regrouped" if change == "regroup" else "reloaded"
    with running(workers, ("refused", "no"), (answer, 2)):
        if change == "regroup":
            workers.regroup(EMPTY_STATE, 2)
            assert workers.setup.epoch == 2
        else:
            workers.restore(SETUP._replace(epoch=2), -1)
        assert killed(workers._workers[0])
        assert os.waitpid(workers._workers[1].pid, os.WNOHANG) == (0, 0)


def test_a_worker_that_talks_nonsense_is_replaced(tmp_path):
    workers = Workers(tmp_path, 1)
    with running(workers, ("never", "sent")):
        (worker,) = workers._workers
        ours, theirs = socket.socketpair()
        worker.control.close()
        worker.control = ours
        with theirs:
            theirs.sendall(LENGTH.pack(3) + b"???")
            workers.listen(ours.fileno())
        assert worker.control is None
        assert workers.news == []
        assert killed(worker)
