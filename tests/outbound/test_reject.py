"""REJECT answers with a reset; REJECT-DROP holds its tongue, for a limited time and number."""

from __future__ import annotations

import socket

import pytest
from support.loopback import RelayRig, both_loops, readable

from mihomo_tproxy.errors import LocalProtocolError
from mihomo_tproxy.model.enums import Verdict
from mihomo_tproxy.net.reactor import Reactor
from mihomo_tproxy.outbound import reject
from mihomo_tproxy.outbound.reject import Pass, Reject, RejectDrop


class Answers:
    """Stands in for the ICMP sender."""

    def __init__(self):
        self.sent = []

    def send(self, client, destination, size):
        self.sent.append((client, destination, size))


@both_loops
def test_reject_resets(loop_factory):
    with RelayRig(loop_factory) as rig:
        rig.outbounds.add(Reject(rig.tracker, Answers()))
        rig.engine.decision = rig.engine.decision._replace(target="REJECT")
        client = rig.connect()
        rig.turn_until(lambda: readable(client))
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert rig.tracker.errors == {}
        assert rig.tracker.traffic("REJECT", "tcp").closed == 1


def test_reject_answers_datagrams_by_icmp():
    with RelayRig() as rig:
        answers = Answers()
        rig.outbounds.add(Reject(rig.tracker, answers))
        rig.engine.decision = rig.engine.decision._replace(target="REJECT")
        ends = ("127.0.0.1", 5000), ("192.0.2.1", 443)
        rig.tunnel.handle_udp(memoryview(b"12345"), *ends)
        assert answers.sent == [(*ends, 5)]
        assert rig.tracker.traffic("REJECT", "udp").opened == 1


def dropping(rig):
    outbound = RejectDrop(rig.reactor, rig.tracker)
    rig.outbounds.add(outbound)
    rig.engine.decision = rig.engine.decision._replace(target="REJECT-DROP")
    return outbound


def test_drop_is_the_kernels_next_time():
    assert RejectDrop.verdict is Verdict.DROP
    assert Reject.verdict is Verdict.UNKNOWN


@both_loops
def test_drop_says_nothing_until_its_time_is_over(loop_factory):
    with RelayRig(loop_factory) as rig:
        dropping(rig)
        client = rig.connect()
        client.sendall(b"anyone?")
        rig.turn_until(lambda: rig.tracker.tcp_live == 1)
        rig.later(59)
        assert not readable(client)
        rig.later(2)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert rig.tracker.tcp_live == 0
        assert rig.tracker.errors == {}


def test_drop_lets_go_when_the_client_does():
    with RelayRig() as rig:
        outbound = dropping(rig)
        client = rig.connect()
        rig.turn_until(lambda: rig.tracker.tcp_live == 1)
        client.shutdown(socket.SHUT_WR)
        rig.turn_until(lambda: rig.tracker.tcp_live == 0)
        assert outbound._held == {}
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_drop_holds_a_limited_number(monkeypatch):
    monkeypatch.setattr(reject, "HOLD_LIMIT", 2)
    with RelayRig() as rig:
        outbound = dropping(rig)
        for _ in range(3):
            rig.connect()
        rig.turn_until(lambda: rig.tracker.errors != {})
        assert rig.tracker.errors == {"hold-limit": 1}
        assert len(outbound._held) == 2


def test_drop_that_cannot_be_watched_lets_go(monkeypatch):
    with RelayRig() as rig:
        dropping(rig)

        def refuse(reactor, fd, handler, events):
            raise OSError(12, "Cannot allocate memory")

        monkeypatch.setattr(Reactor, "watch", refuse)
        rig.connect()
        rig.turn_until(lambda: rig.tracker.errors != {})
        assert rig.tracker.errors == {"hold-failed": 1}
        assert rig.tracker.tcp_live == 0


def test_drop_ignores_datagrams():
    with RelayRig() as rig:
        dropping(rig)
        rig.tunnel.handle_udp(memoryview(b"x"), ("127.0.0.1", 5000), ("192.0.2.1", 443))
        assert rig.tracker.traffic("REJECT-DROP", "udp").opened == 1
        assert rig.tunnel.nat.associations == {}


def test_pass_where_no_rule_is_left_turns_away():
    with RelayRig() as rig:
        rig.outbounds.add(Pass(rig.tracker))
        rig.engine.decision = rig.engine.decision._replace(target="PASS")
        client = rig.connect()
        rig.turn_until(lambda: readable(client))
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        rig.tunnel.handle_udp(memoryview(b"x"), ("127.0.0.1", 5000), ("192.0.2.1", 443))
        assert rig.tracker.errors == {"passed-by-all": 2}
        with pytest.raises(LocalProtocolError):
            rig.outbounds["PASS"].route("a.test", 80)
