"""The dialer: addresses, families, races."""

from __future__ import annotations

import errno
import socket

import pytest
from support.loopback import RelayRig

from mihomo_tproxy.net import race as race_module
from mihomo_tproxy.net.dial import Dialer
from mihomo_tproxy.net.relay import Timeouts


class Table:
    """A resolver with fixed answers."""

    def __init__(self, **answers) -> None:
        self.answers = answers

    def resolve(self, host, done) -> None:
        done(self.answers.get(host, ()))


def dial(rig, dialer, host, port):
    got = []
    dialer.dial(host, port, lambda sock, cause: got.append((sock, cause)))
    return got


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("dual", ("a4", "a6:", "b4", "b6:", "c4")),
        ("ipv4", ("a4", "b4", "c4")),
        ("ipv6", ("a6:", "b6:")),
        ("ipv4-prefer", ("a4", "a6:", "b4", "b6:", "c4")),
        ("ipv6-prefer", ("a6:", "a4", "b6:", "b4", "c4")),
    ],
)
def test_families_alternate_as_ip_version_says(version, expected):
    with RelayRig() as rig:
        dialer = Dialer(rig.context, Table(), ip_version=version)
        assert dialer.arrange(("a4", "b4", "c4", "a6:", "b6:")) == expected


def test_without_a_preference_the_resolvers_first_family_is_first():
    with RelayRig() as rig:
        assert Dialer(rig.context, Table()).arrange(("a6:", "a4", "b4")) == ("a6:", "a4", "b4")


def test_a_literal_is_connecting_at_once():
    with RelayRig() as rig:
        ((sock, cause),) = dial(rig, Dialer(rig.context, Table()), *rig.destination)
        assert cause == ""
        rig.keep(sock)
        rig.server.accept()[0].close()


def test_a_barred_family_and_an_unknown_name():
    with RelayRig() as rig:
        v6 = Dialer(rig.context, Table(only4=("127.0.0.1",)), ip_version="ipv6")
        assert dial(rig, v6, "127.0.0.1", 9) == [(None, "dial-unreachable")]
        assert dial(rig, v6, "only4", 9) == [(None, "dial-unreachable")]
        assert dial(rig, v6, "nobody", 9) == [(None, "dial-name")]
        with pytest.raises(OSError, match="barred"):
            v6.packet_socket(socket.AF_INET)


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


def test_racing_sockets_do_not_open_fast(monkeypatch):
    with RelayRig() as rig:
        dialer = Dialer(rig.context, Table(), tfo=True)
        fast = rig.keep(dialer.connect(rig.destination))
        plain = rig.keep(dialer.connect(rig.destination, racing=True))
        option = (socket.IPPROTO_TCP, 30)
        assert fast.getsockopt(*option) == 1
        assert plain.getsockopt(*option) == 0
        rig.server.accept()[0].close()


def test_no_descriptor_is_a_cause(monkeypatch):
    def none(*args):
        raise OSError(errno.EMFILE, "too many")

    with RelayRig() as rig:
        monkeypatch.setattr("mihomo_tproxy.net.dial.SocketType", none)
        got = dial(rig, Dialer(rig.context, Table()), "127.0.0.1", 9)
        assert got == [(None, "dial-no-descriptor")]
