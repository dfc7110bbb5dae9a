"""Several addresses of a name: the first that connects wins, everybody else is closed."""

from __future__ import annotations

import errno
import gc
import socket
import weakref

from support.dialing import Table, dial
from support.loopback import RelayRig, readable

from mihomo_tproxy.net import race as race_module
from mihomo_tproxy.net.dial import Dialer
from mihomo_tproxy.net.race import Race
from mihomo_tproxy.net.reactor import Reactor
from mihomo_tproxy.net.relay import Timeouts


def racers(rig):
    return [handler for handler in rig.reactor._table if isinstance(handler, Race)]


def test_the_first_that_connects_wins():
    with RelayRig() as rig:
        port = rig.destination[1]
        dialer = Dialer(rig.context, Table(name=("::1", "127.0.0.1")))
        got = dial(rig, dialer, "name", port)
        rig.turn_until(lambda: bool(got))
        sock, cause = got[0]
        assert cause == ""
        assert rig.keep(sock).getpeername() == rig.destination


def test_an_address_that_is_silent_is_overtaken(monkeypatch):
    monkeypatch.setattr(race_module, "ATTEMPT_DELAY_S", 0.01)
    with RelayRig() as rig:
        full = rig.keep(socket.create_server(("127.0.0.2", 0), backlog=0))
        port = full.getsockname()[1]
        for _ in range(3):  # its queue is full: further SYNs get no answer
            blocker = rig.keep(socket.socket())
            blocker.setblocking(False)
            blocker.connect_ex(("127.0.0.2", port))
        good = rig.keep(socket.create_server(("127.0.0.1", port)))
        dialer = Dialer(rig.context, Table(name=("127.0.0.2", "127.0.0.1")))
        got = dial(rig, dialer, "name", port)
        rig.turn_until(lambda: bool(got))
        assert rig.keep(got[0][0]).getpeername() == good.getsockname()


def test_a_race_that_nobody_wins():
    with RelayRig() as rig:
        closed = socket.create_server(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        closed.close()
        dialer = Dialer(rig.context, Table(name=("127.0.0.1", "127.0.0.2")))
        got = dial(rig, dialer, "name", port)
        rig.turn_until(lambda: bool(got))
        assert got == [(None, "dial-refused")]


def test_a_race_ends_in_time():
    with RelayRig(timeouts=Timeouts(connect=5.0)) as rig:
        full = rig.keep(socket.create_server(("127.0.0.2", 0), backlog=0))
        port = full.getsockname()[1]
        for _ in range(3):
            blocker = rig.keep(socket.socket())
            blocker.setblocking(False)
            blocker.connect_ex(("127.0.0.2", port))
        dialer = Dialer(rig.context, Table(name=("127.0.0.2", "127.0.0.2")))
        got = dial(rig, dialer, "name", port)
        rig.later(6.0)
        assert got == [(None, "dial-timeout")]


def test_all_but_the_winner_are_closed(monkeypatch):
    with RelayRig() as rig:
        port = rig.destination[1]
        other = rig.keep(socket.create_server(("127.0.0.2", port)))
        dialer = Dialer(rig.context, Table(name=("127.0.0.1", "127.0.0.2")))
        got = dial(rig, dialer, "name", port)
        racers(rig)[0]._next()  # the second attempt, whose time has not come
        assert len(racers(rig)) == 2
        rig.turn_until(lambda: bool(got))
        winner = rig.keep(got[0][0])
        winner.sendall(b"x")
        assert len(got) == 1
        assert racers(rig) == []
        loser = other if winner.getpeername()[0] == "127.0.0.1" else rig.server
        rig.turn_until(lambda: readable(loser))
        end, _ = loser.accept()
        rig.turn_until(lambda: readable(end))
        with end:
            assert end.recv(1) == b""


def test_an_attempt_that_cannot_be_watched_is_one_that_failed(monkeypatch):
    real, refused = Reactor.watch, []

    def refuse_once(reactor, fd, handler, events):
        if not refused:
            refused.append(fd)
            raise OSError(errno.ENOSPC, "No space left on device")
        real(reactor, fd, handler, events)

    with RelayRig() as rig:
        monkeypatch.setattr(Reactor, "watch", refuse_once)
        dialer = Dialer(rig.context, Table(name=("127.0.0.2", "127.0.0.1")))
        got = dial(rig, dialer, "name", rig.destination[1])
        rig.turn_until(lambda: bool(got))
        assert rig.keep(got[0][0]).getpeername() == rig.destination


def test_an_aborted_race_is_over():
    with RelayRig() as rig:
        dialer = Dialer(rig.context, Table(name=("127.0.0.1", "127.0.0.1")))
        got = dial(rig, dialer, "name", rig.destination[1])
        racers(rig)[0].abort("shutdown")
        rig.turn(0.01)
        assert got == [(None, "shutdown")]
        assert racers(rig) == []


def test_a_race_leaves_no_garbage():
    with RelayRig() as rig:
        port = rig.destination[1]
        dialer = Dialer(rig.context, Table(name=("127.0.0.1", "127.0.0.2")))
        gc.collect()
        gc.disable()
        try:
            refs = []
            for number in (port, 1):  # one is won, one is lost
                got = dial(rig, dialer, "name", number)
                refs += [weakref.ref(race) for race in racers(rig)]
                rig.turn_until(lambda got=got: bool(got))
                if got[0][0] is not None:
                    rig.keep(got[0][0])
            rig.turn()
            assert len(refs) == 2
            assert [ref for ref in refs if ref() is not None] == []
        finally:
            gc.enable()
