"""One end of a connection: what is sent, what waits, what is asked of epoll."""

from __future__ import annotations

import socket
from select import EPOLLIN, EPOLLOUT

import pytest

from mihomo_tproxy.inbound.end import End


class Reactor:
    """Remembers what was asked."""

    def __init__(self):
        self.buffer = bytearray(1 << 16)
        self.view = memoryview(self.buffer)
        self.calls = []

    def watch(self, fd, handler, mask):
        self.calls.append(("watch", mask))

    def rewatch(self, fd, mask):
        self.calls.append(("rewatch", mask))

    def forget(self, fd):
        self.calls.append(("forget", 0))

    def retire(self, sock):
        sock.close()


@pytest.fixture
def ends():
    near, far = socket.socketpair()
    reactor = Reactor()
    yield End(reactor, near), far, reactor
    near.close()
    far.close()


def test_sends_and_reads(ends):
    end, far, _ = ends
    end.send(b"")
    end.send(b"hello")
    assert far.recv(10) == b"hello"
    assert end.read() is None
    far.send(b"x")
    assert bytes(end.read()) == b"x"
    far.close()
    assert bytes(end.read()) == b""


def test_what_does_not_fit_waits_in_order(ends):
    end, far, _ = ends
    data = bytes(range(256)) * 8192
    end.send(data)
    assert end.waiting
    end.send(b"last")
    got = bytearray()
    while end.waiting:
        got += far.recv(1 << 20)
        end.flush()
    far.setblocking(False)
    while len(got) < len(data) + 4:
        got += far.recv(1 << 20)
    assert got == data + b"last"


def test_a_peer_that_is_gone_breaks_it(ends):
    end, far, _ = ends
    far.close()
    end.send(b"x")
    assert end.broken
    assert not end.waiting
    end.send(b"y")
    end.flush()


def test_reading_is_given_up_only_when_it_disturbs(ends):
    end, far, reactor = ends
    end.watch(end, read=False)
    end.watch(end, read=True)
    end.watch(end, read=True)
    end.watch(end, read=False)
    assert reactor.calls == [("watch", EPOLLIN)]
    end.mute()
    end.mute()
    assert reactor.calls[1:] == [("forget", 0)]
    end.send(b"x" * (1 << 22))
    end.watch(end, read=False)
    end.watch(end, read=True)
    while end.waiting:
        far.recv(1 << 20)
        end.flush()
    end.watch(end, read=False)
    assert reactor.calls[2:] == [
        ("watch", EPOLLOUT),
        ("rewatch", EPOLLIN | EPOLLOUT),
        ("rewatch", EPOLLIN),
    ]


def test_when_nothing_is_of_interest_it_is_not_watched(ends):
    end, far, reactor = ends
    end.send(b"x" * (1 << 22))
    end.watch(end, read=False)
    while end.waiting:
        far.recv(1 << 20)
        end.flush()
    end.watch(end, read=False)
    assert reactor.calls == [("watch", EPOLLOUT), ("forget", 0)]
    end.close()
    assert end.sock.fileno() == -1
