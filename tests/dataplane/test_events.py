"""Netlink tells that the network changed; here without changing any."""

from __future__ import annotations

import errno
import select

import pytest

from mihomo_tproxy.dataplane.events import ChangeMonitor


class FakeSocket:
    """Gives what it is told to, one item for each read."""

    def __init__(self, items):
        self.items = list(items)

    def recv(self, _size):
        item = self.items.pop(0) if self.items else BlockingIOError()
        if isinstance(item, Exception):
            raise item
        return item


@pytest.fixture
def monitor():
    watcher = ChangeMonitor()
    yield watcher
    watcher.close()


def drained(monitor, *items):
    real, monitor._socket = monitor._socket, FakeSocket(items)
    try:
        return monitor.drain()
    finally:
        monitor._socket = real


def test_it_can_be_polled(monitor):
    poller = select.poll()
    poller.register(monitor, select.POLLIN)
    assert monitor.fileno() >= 0


def test_silence_is_no_change(monitor):
    assert drained(monitor) is False


def test_all_messages_are_one_change(monitor):
    assert drained(monitor, b"message", b"message") is True


def test_lost_messages_are_a_change(monitor):
    assert drained(monitor, OSError(errno.ENOBUFS, "No buffer space available")) is True
