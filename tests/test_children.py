"""Work in a forked child: results and errors come back, and no child stays."""

from __future__ import annotations

import os
import signal

import pytest

from mihomo_tproxy import children
from mihomo_tproxy.children import run_in_child
from mihomo_tproxy.errors import ConfigError, Problem, WorkerFailed


@pytest.fixture(autouse=True)
def no_child_stays():
    yield
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_the_result_comes_from_another_process():
    pid, blob = run_in_child(lambda: (os.getpid(), bytes(1_000_000)), "work")
    assert pid != os.getpid()
    assert len(blob) == 1_000_000


def test_our_errors_are_passed_on_whole():
    def work():
        raise ConfigError([Problem("rules[0]", "wrong", 3)])

    with pytest.raises(ConfigError) as caught:
        run_in_child(work, "work")
    assert caught.value.problems == [Problem("rules[0]", "wrong", 3)]


def test_foreign_errors_become_a_sentence():
    with pytest.raises(WorkerFailed, match="dividing failed: ZeroDivisionError"):
        run_in_child(lambda: 1 // 0, "dividing")


def test_a_result_that_cannot_travel_is_an_error():
    with pytest.raises(WorkerFailed, match="work failed"):
        run_in_child(lambda: lambda: None, "work")


def test_a_killed_child_is_an_error():
    with pytest.raises(WorkerFailed, match="work ended without a result"):
        run_in_child(lambda: os.kill(os.getpid(), signal.SIGKILL), "work")


def test_a_child_that_hangs_is_killed(monkeypatch):
    monkeypatch.setattr(children, "TIMEOUT_S", 0.05)
    with pytest.raises(WorkerFailed, match="without a result"):
        run_in_child(signal.pause, "work")


def test_a_child_ends_with_its_parent():
    """Even with one that was killed: the grandchild's end of the pipe closes."""
    reader, writer = os.pipe()
    middle = os.fork()
    if middle == 0:
        parent = os.getpid()
        if os.fork() == 0:
            children.end_with_parent(parent)
            os.write(writer, b"x")
            signal.pause()
        signal.pause()
    os.close(writer)
    try:
        assert os.read(reader, 1) == b"x"
        os.kill(middle, signal.SIGKILL)
        os.waitpid(middle, 0)
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)
