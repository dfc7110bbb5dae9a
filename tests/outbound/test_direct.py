"""DIRECT dials, with the interface and mark it was given, and says why it could not."""

from __future__ import annotations

import errno
import socket

import pytest
from support.loopback import RelayRig, readable

import mihomo_tproxy.net.dial as module
from mihomo_tproxy.model.enums import Verdict
from mihomo_tproxy.net.reactor import Reactor


class Sink:
    """Keeps what a link delivers."""

    def __init__(self):
        self.got = []

    def deliver(self, data, remote):
        self.got.append((bytes(data), remote))


@pytest.fixture
def recorded(monkeypatch):
    """Sockets whose options are written down instead of set."""
    options = []

    class Recorded(socket.SocketType):
        def setsockopt(self, *args):
            options.append(args)

    monkeypatch.setattr(module, "SocketType", Recorded)
    return options


def test_interface_and_mark_are_set_on_every_socket(recorded):
    with RelayRig() as rig:
        outbound = rig.direct("out", interface_name="wan0", routing_mark=0x2D0)
        outbound.dialer.packet_socket(socket.AF_INET).close()
        expected = [
            (socket.SOL_SOCKET, socket.SO_MARK, 0x2D0),
            (socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"wan0\0"),
        ]
        assert recorded == expected
        rig.outbounds.add(outbound)
        rig.engine.decision = rig.engine.decision._replace(target="out")
        rig.pair()
        assert recorded[:4] == expected * 2


def test_nothing_is_set_when_nothing_is_configured(recorded):
    with RelayRig() as rig:
        rig.pair()
        assert recorded == []


def test_verdict():
    with RelayRig() as rig:
        assert rig.direct("out", kernel=True).verdict is Verdict.DIRECT
        assert rig.direct("out").verdict is Verdict.UNKNOWN
        assert rig.direct("out", kernel=True, udp=False).verdict is Verdict.UNKNOWN


def test_missing_interface_fails_the_dial_and_the_link():
    with RelayRig() as rig:
        outbound = rig.direct("out", interface_name="nowhere0")
        rig.outbounds.add(outbound)
        rig.engine.decision = rig.engine.decision._replace(target="out")
        client = rig.connect()
        rig.turn_until(lambda: rig.tracker.errors != {})
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        link = outbound.open_udp(Sink())
        link.send(memoryview(b"x"), ("127.0.0.1", 9))
        (dial, send) = rig.tracker.errors
        assert (dial.split("-")[0], send.split("-")[0]) == ("dial", "udp")
        assert rig.tracker.tcp_live == 0
        link.close()


def test_destination_that_cannot_be_dialled_at_all():
    with RelayRig() as rig:
        rig.destination = ("255.255.255.255", 80)
        client = rig.connect()
        rig.turn_until(lambda: rig.tracker.errors != {})
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert len(rig.tracker.errors) == 1
        assert next(iter(rig.tracker.errors)).startswith("dial-")


def test_refused_watch_resets_the_client(monkeypatch):
    with RelayRig() as rig:
        real = Reactor.watch

        def refuse(reactor, fd, handler, events):
            raise OSError(errno.ENOMEM, "Cannot allocate memory")

        monkeypatch.setattr(Reactor, "watch", refuse)
        client = rig.connect()
        rig.turn_until(lambda: rig.tracker.errors != {})
        monkeypatch.setattr(Reactor, "watch", real)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert rig.tracker.errors == {"dial-no-memory": 1}


def udp(rig, host="127.0.0.1", family=socket.AF_INET):
    sock = rig.keep(socket.socket(family, socket.SOCK_DGRAM))
    sock.bind((host, 0))
    return sock


def test_link_uses_one_port_for_all_and_hears_all():
    with RelayRig() as rig:
        sink = Sink()
        link = rig.direct("out").open_udp(sink)
        first, second = udp(rig), udp(rig)
        link.send(memoryview(b"one"), first.getsockname())
        link.send(memoryview(b"two"), second.getsockname())
        ours = second.recvfrom(64)[1]
        assert first.recvfrom(64)[1] == ours
        third = udp(rig)
        third.sendto(b"three", ours)
        rig.turn_until(lambda: bool(sink.got))
        assert sink.got == [(b"three", third.getsockname())]
        link.close()


def test_link_speaks_both_families():
    with RelayRig() as rig:
        sink = Sink()
        link = rig.direct("out").open_udp(sink)
        v4, v6 = udp(rig), udp(rig, "::1", socket.AF_INET6)
        for remote in (v4, v6):
            link.send(memoryview(b"x"), remote.getsockname())
            remote.sendto(b"y", remote.recvfrom(64)[1])
        rig.turn_until(lambda: len(sink.got) == 2)
        assert {remote for _, remote in sink.got} == {v4.getsockname(), v6.getsockname()}
        link.close()


def test_burst_is_read_in_order():
    with RelayRig() as rig:
        sink = Sink()
        link = rig.direct("out").open_udp(sink)
        remote = udp(rig)
        link.send(memoryview(b"x"), remote.getsockname())
        ours = remote.recvfrom(64)[1]
        for number in range(200):
            remote.sendto(b"%d" % number, ours)
        rig.turn_until(lambda: len(sink.got) == 200)
        assert [data for data, _ in sink.got] == [b"%d" % number for number in range(200)]
        link.close()


def test_send_that_fails_is_counted():
    with RelayRig() as rig:
        link = rig.direct("out").open_udp(Sink())
        link.send(memoryview(bytes(65535)), ("127.0.0.1", 9))
        assert rig.tracker.errors == {"udp-send-emsgsize": 1}
        link.close()


def test_closed_link_is_silent():
    with RelayRig() as rig:
        sink = Sink()
        link = rig.direct("out").open_udp(sink)
        remote = udp(rig)
        link.send(memoryview(b"x"), remote.getsockname())
        ours = remote.recvfrom(64)[1]
        remote.sendto(b"late", ours)
        link.abort("internal-error")
        rig.turn(0.01)
        assert sink.got == []
        assert not readable(remote)


def test_aborted_link_opens_no_socket_that_nobody_reads():
    with RelayRig() as rig:
        link = rig.direct("out").open_udp(Sink())
        remote = udp(rig)
        link.abort("internal-error")
        link.send(memoryview(b"x"), remote.getsockname())
        rig.turn(0.01)
        assert not readable(remote)
        assert rig.tracker.errors == {"udp-link-closed": 1}
