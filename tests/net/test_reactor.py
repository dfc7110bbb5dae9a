"""The reactor: reused descriptors, handlers that raise, turns, sweeping for timeouts."""

from __future__ import annotations

import asyncio
import os
import socket
from select import EPOLLIN

import pytest
from support.loopback import Clock, both_loops

from mihomo_tproxy.net.reactor import NEVER, ROUNDS, Reactor


class Probe:
    """A handler that writes down what it is told."""

    def __init__(self, reactor: Reactor, sock: socket.socket | None = None) -> None:
        self.reactor = reactor
        self.sock = sock
        self.deadline = NEVER
        self.events: list[int] = []
        self.turns = 0
        self.aborted: list[str] = []
        self.expired: list[float] = []

    def on_event(self, fd, events):
        self.events.append(fd)
        if self.sock is not None:
            self.sock.recv(64)

    def on_again(self):
        self.turns += 1

    def expire(self, now):
        self.expired.append(now)

    def abort(self, cause):
        self.aborted.append(cause)
        if self.sock is not None and self.sock.fileno() >= 0:
            self.reactor.retire(self.sock)


@pytest.fixture
def pairs():
    made: list[socket.socket] = []

    def make():
        ends = socket.socketpair()
        made.extend(ends)
        for end in ends:
            end.setblocking(False)
        return ends

    yield make
    for sock in made:
        sock.close()


@pytest.fixture
def reactor(monkeypatch):
    """One batch per dispatch, so that events a test leaves unread come once."""
    monkeypatch.setattr("mihomo_tproxy.net.reactor.ROUNDS", 1)
    loop = asyncio.new_event_loop()
    reactor = Reactor(loop, Clock())
    yield reactor
    reactor.close()
    loop.close()


def turn(loop, seconds=0.0):
    loop.run_until_complete(asyncio.sleep(seconds))


@both_loops
def test_events_reach_the_handler_through_the_loop(loop_factory, pairs):
    loop = loop_factory()
    reactor = Reactor(loop)
    near, far = pairs()
    probe = Probe(reactor, near)
    reactor.watch(near.fileno(), probe, EPOLLIN)
    reactor.start()
    far.send(b"x")
    for _ in range(1000):
        turn(loop, 0.001)
        if probe.events:
            break
    assert probe.events == [near.fileno()]
    reactor.close()
    loop.close()


def test_descriptor_number_is_not_reused_inside_a_batch(reactor, pairs):
    """Two descriptors are ready; the first handler retires the second and opens a new one."""
    (a, a_far), (b, b_far) = pairs(), pairs()
    old = Probe(reactor, b)
    new = Probe(reactor)
    numbers = []

    class Closer(Probe):
        def on_event(self, fd, events):
            victim, keeper = (b, old) if fd == a.fileno() else (a, self)
            if not numbers:
                reactor.retire(victim)
                keeper.sock = None
                fresh, _ = pairs()
                numbers.extend([victim.fileno(), fresh.fileno()])
                reactor.watch(fresh.fileno(), new, EPOLLIN)

    closer = Closer(reactor, a)
    reactor.watch(a.fileno(), closer, EPOLLIN)
    reactor.watch(b.fileno(), closer, EPOLLIN)
    a_far.send(b"x")
    b_far.send(b"x")
    reactor.dispatch()
    assert numbers[0] >= 0, "the retired socket must stay open until the batch is over"
    assert numbers[0] != numbers[1]
    assert new.events == []
    assert -1 in (a.fileno(), b.fileno())


def test_retire_outside_a_batch_closes_at_once(reactor, pairs):
    near, _far = pairs()
    reactor.watch(near.fileno(), Probe(reactor), EPOLLIN)
    reactor.retire(near)
    assert near.fileno() == -1


def test_handler_that_raises_harms_only_itself(reactor, pairs):
    (bad, bad_far), (good, good_far) = pairs(), pairs()

    class Bad(Probe):
        def on_event(self, fd, events):
            raise RuntimeError("broken")

    broken, fine = Bad(reactor, bad), Probe(reactor, good)
    reactor.watch(bad.fileno(), broken, EPOLLIN)
    reactor.watch(good.fileno(), fine, EPOLLIN)
    bad_far.send(b"x")
    good_far.send(b"x")
    reactor.dispatch()
    assert broken.aborted == ["internal-error"]
    assert bad.fileno() == -1
    assert fine.events == [good.fileno()]
    assert reactor.crashes == 1


def test_abort_that_raises_too_is_survived(reactor, pairs):
    near, far = pairs()

    class Worst(Probe):
        def on_event(self, fd, events):
            raise RuntimeError("broken")

        def abort(self, cause):
            if cause != "shutdown":
                raise RuntimeError("very broken")

    reactor.watch(near.fileno(), Worst(reactor), EPOLLIN)
    far.send(b"x")
    reactor.dispatch()
    assert reactor.crashes == 1


def test_continuations_wait_for_everybodys_events(reactor, pairs):
    near, far = pairs()
    order = []

    class Greedy(Probe):
        def on_again(self):
            order.append("again")

    class Polite(Probe):
        def on_event(self, fd, events):
            order.append("event")

    reactor.again(Greedy(reactor))
    reactor.watch(near.fileno(), Polite(reactor), EPOLLIN)
    far.send(b"x")
    reactor.dispatch()
    assert order == ["event", "again"]


def test_endless_continuations_leave_room_for_events(pairs):
    loop = asyncio.new_event_loop()
    reactor = Reactor(loop)
    near, far = pairs()

    class Greedy(Probe):
        def on_again(self):
            self.turns += 1
            reactor.again(self)

    greedy = [Greedy(reactor) for _ in range(65)]
    probe = Probe(reactor, near)
    reactor.watch(near.fileno(), probe, EPOLLIN)
    reactor.start()
    for handler in greedy:
        reactor.again(handler)
    far.send(b"x")
    for _ in range(20):
        turn(loop)
    assert probe.events == [near.fileno()]
    assert min(handler.turns for handler in greedy) >= 2
    reactor.close()
    loop.close()


def test_sweep_expires_what_is_due_and_nothing_else(reactor, pairs):
    (a, _), (b, _) = pairs(), pairs()
    due, later = Probe(reactor), Probe(reactor)
    now = reactor.now
    due.deadline, later.deadline = now + 5, now + 50
    reactor.watch(a.fileno(), due, EPOLLIN)
    reactor.watch(b.fileno(), later, EPOLLIN)
    reactor.sweep(0, 4096)
    assert due.expired == []
    reactor._clock.ahead = 6
    reactor.sweep(0, 4096)
    assert len(due.expired) == 1
    assert due.expired[0] >= now + 6
    assert later.expired == []


def test_sweep_survives_a_handler_that_raises(reactor, pairs):
    (a, _), (b, _) = pairs(), pairs()

    class Bad(Probe):
        def expire(self, now):
            raise RuntimeError("broken")

    bad, good = Bad(reactor), Probe(reactor)
    bad.deadline = good.deadline = 0
    reactor.watch(a.fileno(), bad, EPOLLIN)
    reactor.watch(b.fileno(), good, EPOLLIN)
    reactor.sweep(0, 4096)
    assert bad.aborted == ["internal-error"]
    assert len(good.expired) == 1


def test_started_reactor_sweeps_the_whole_table(monkeypatch, pairs):
    monkeypatch.setattr("mihomo_tproxy.net.reactor.SWEEP_PERIOD_S", 0.01)
    monkeypatch.setattr("mihomo_tproxy.net.reactor.SWEEP_SLICE", 2)
    loop = asyncio.new_event_loop()
    reactor = Reactor(loop)
    near, _far = pairs()
    probe = Probe(reactor)
    probe.deadline = 0
    monkeypatch.setattr(reactor, "_table", [None] * 64)
    reactor.watch(near.fileno(), probe, EPOLLIN)
    reactor.start()
    for _ in range(1000):
        turn(loop, 0.005)
        if len(probe.expired) > 1:
            break
    assert len(probe.expired) > 1
    reactor.close()
    loop.close()


def test_table_grows_to_high_descriptors(reactor, pairs):
    near, far = pairs()
    high = 1500
    os.dup2(near.fileno(), high)
    try:
        probe = Probe(reactor)
        reactor.watch(high, probe, EPOLLIN)
        far.send(b"x")
        reactor.dispatch()
        assert probe.events == [high]
        reactor.forget(high)
        reactor.dispatch()
        assert probe.events == [high]
    finally:
        os.close(high)


def test_close_aborts_everything(pairs):
    loop = asyncio.new_event_loop()
    reactor = Reactor(loop)
    near, _far = pairs()
    probe = Probe(reactor, near)
    reactor.watch(near.fileno(), probe, EPOLLIN)
    reactor.start()
    reactor.close()
    assert probe.aborted == ["shutdown"]
    assert near.fileno() == -1
    loop.close()


def test_busy_descriptors_cannot_keep_the_loop_out(pairs):
    loop = asyncio.new_event_loop()
    reactor = Reactor(loop)
    near, far = pairs()
    probe = Probe(reactor)  # never reads: always ready
    reactor.watch(near.fileno(), probe, EPOLLIN)
    far.send(b"x")
    reactor.dispatch()
    assert len(probe.events) == ROUNDS
    reactor.close()
    loop.close()


def test_later_calls_back():
    loop = asyncio.new_event_loop()
    reactor = Reactor(loop)
    called = []
    reactor.later(0, lambda: called.append(1))
    turn(loop, 0.01)
    assert called == [1]
    reactor.close()
    loop.close()
