"""The supervisor's side of the keeper, with a keeper that repeats what it is told."""

from __future__ import annotations

import os
import select
import signal
import time

import pytest

from mihomo_tproxy import keeping
from mihomo_tproxy.keeping import BACKOFF_S, Keeper
from mihomo_tproxy.messages import receive_message, send_message
from mihomo_tproxy.model.group_state import EMPTY_STATE

WAIT_S = 20


def repeat(control, config, state, home, image):
    """A keeper's life; `die` ends it, `hang` makes it deaf to SIGTERM."""
    send_message(control, ("ready", config, state, home, image))
    while (message := receive_message(control)) is not None:
        if message[0] == "die":
            os._exit(1)
        if message[0] == "hang":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        send_message(control, message)
    os._exit(0)


@pytest.fixture
def child_says():
    """Where a child writes that it lets go of what is the supervisor's."""
    reader, writer = os.pipe()
    yield writer
    os.close(writer)
    assert os.read(reader, 6) in (b"let go", b"")
    os.close(reader)


@pytest.fixture
def keeper(monkeypatch, child_says):
    monkeypatch.setattr(keeping, "_become_keeper", repeat)
    monkeypatch.setattr(keeping, "STOP_S", 0.05)
    kept = Keeper(lambda: os.write(child_says, b"let go"))
    yield kept
    kept.stop()


def started(keeper):
    keeper.start(b"config", EMPTY_STATE, "/home", 7)
    assert keeper.hear() == ("ready", b"config", EMPTY_STATE, "/home", 7)


def reaped(keeper):
    """Wait until its death is noticed."""
    deadline = time.monotonic() + WAIT_S
    while not keeper.reap():
        assert time.monotonic() < deadline
        select.select([], [], [], 0.01)


def test_before_it_starts(keeper):
    assert keeper.due()
    assert keeper.wait_s() == 0
    assert not keeper.reap()
    assert not keeper.tell("anything")
    assert keeper.hear() is None


def test_talking(keeper):
    started(keeper)
    assert not keeper.due()
    assert keeper.tell("check", 1, "a")
    assert keeper.hear() == ("check", 1, "a")
    assert not keeper.reap()


def test_one_that_died_is_replaced_later_and_later(keeper):
    for wait_s in BACKOFF_S[:2]:
        started(keeper)
        keeper.tell("die")
        assert keeper.hear() is None
        reaped(keeper)
        assert not keeper.due()
        assert 0 < keeper.wait_s() <= wait_s
        assert not keeper.tell("anything")


def test_one_that_died_unheard(keeper):
    started(keeper)
    keeper.tell("die")
    reaped(keeper)
    assert keeper.control is None
    assert keeper.hear() is None


def test_one_that_does_not_read_is_lost(keeper, monkeypatch):
    started(keeper)
    os.kill(keeper.pid, signal.SIGSTOP)
    keeper.control.settimeout(0.05)
    assert not keeper.tell("much", b"x" * (8 << 20))
    assert keeper.control is None
    reaped(keeper)


def test_stopping(keeper):
    started(keeper)
    keeper.stop()
    assert (keeper.pid, keeper.control) == (0, None)
    assert keeper.due()
    keeper.stop()


def test_stopping_one_that_hangs(keeper):
    started(keeper)
    keeper.tell("hang")
    assert keeper.hear() == ("hang",)
    keeper.stop()
    assert keeper.pid == 0
