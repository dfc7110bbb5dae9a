"""The dialer: addresses, families, options."""

from __future__ import annotations

import errno
import socket

import pytest
from support.dialing import Table, dial
from support.loopback import RelayRig

from mihomo_tproxy.net.dial import FAST_OPEN_SYNS, Dialer


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


def test_racing_sockets_do_not_open_fast(monkeypatch):
    with RelayRig() as rig:
        dialer = Dialer(rig.context, Table(), tfo=True)
        fast = rig.keep(dialer.connect(rig.destination))
        plain = rig.keep(dialer.connect(rig.destination, racing=True))
        option = (socket.IPPROTO_TCP, 30)
        assert fast.getsockopt(*option) == 1
        assert plain.getsockopt(*option) == 0
        assert fast.getsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT) == FAST_OPEN_SYNS
        rig.server.accept()[0].close()


def test_no_descriptor_is_a_cause(monkeypatch):
    def none(*args):
        raise OSError(errno.EMFILE, "too many")

    with RelayRig() as rig:
        monkeypatch.setattr("mihomo_tproxy.net.dial.SocketType", none)
        got = dial(rig, Dialer(rig.context, Table()), "127.0.0.1", 9)
        assert got == [(None, "dial-no-descriptor")]
