"""From a route to a flow: every way it can fail closes the client once, and is counted once."""

from __future__ import annotations

import errno
import socket

import pytest
from support.dialing import Table
from support.layers import Xor
from support.loopback import RelayRig, readable

from mihomo_tproxy.net.dial import Dialer
from mihomo_tproxy.net.layered import LayeredFlow
from mihomo_tproxy.net.reactor import Reactor
from mihomo_tproxy.net.relay import Flow
from mihomo_tproxy.outbound.base import Route
from mihomo_tproxy.outbound.opening import open_flow


class Words:
    early = b""

    def accepted(self):
        return b"OK\n"

    def refused(self, cause):
        return f"NO {cause}\n".encode()


class Slow:
    """A resolver that answers when it is told to."""

    def __init__(self):
        self.asked = []

    def resolve(self, host, done):
        self.asked.append((host, done))


def opened(rig, resolver, host, port, layers=(), answer=None):
    """A client whose flow is being opened, and the counters of its target."""
    listener = rig.keep(socket.create_server(("127.0.0.1", 0)))
    client = rig.keep(socket.create_connection(listener.getsockname(), timeout=20))
    ours, _ = listener.accept()
    traffic = rig.tracker.traffic("p", "tcp")
    route = Route(Dialer(rig.context, resolver), host, port, list(layers))
    open_flow(rig.context, ours, route, traffic, answer)
    return client, traffic


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def hears(rig, client, words):
    """The client is told, or reset when there are no words."""
    rig.turn_until(lambda: readable(client))
    if words:
        assert client.recv(64) == words
        assert client.recv(64) == b""
    else:
        with pytest.raises(ConnectionResetError):
            client.recv(64)


@pytest.mark.parametrize("answer", [None, Words()], ids=["mute", "words"])
@pytest.mark.parametrize(
    ("host", "cause"),
    [
        ("nobody", "dial-name"),
        ("127.0.0.1", "dial-refused"),
        ("both", "dial-refused"),
        ("255.255.255.255", "dial-unreachable"),
    ],
)
def test_a_dial_that_fails(host, cause, answer):
    with RelayRig() as rig:
        table = Table(both=("127.0.0.1", "127.0.0.2"))
        client, traffic = opened(rig, table, host, closed_port(), [Xor()], answer)
        rig.turn_until(lambda: rig.tracker.tcp_live == 0)
        assert rig.tracker.errors == {cause: 1}
        assert (traffic.opened, traffic.closed) == (1, 1)
        hears(rig, client, f"NO {cause}\n".encode() if answer else b"")


@pytest.mark.parametrize("layers", [[], [Xor()]], ids=["plain", "layered"])
def test_a_socket_that_cannot_be_watched_is_closed(monkeypatch, layers):
    def refuse(reactor, fd, handler, events):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    with RelayRig() as rig:
        with monkeypatch.context() as patch:
            patch.setattr(Reactor, "watch", refuse)
            client, traffic = opened(rig, Table(), *rig.destination, layers)
        server, _ = rig.server.accept()
        with server:
            assert server.recv(1) == b""
        assert rig.tracker.errors == {"dial-no-memory": 1}
        assert (rig.tracker.tcp_live, traffic.opened, traffic.closed) == (0, 1, 1)
        hears(rig, client, b"")


def test_a_client_waits_for_the_name_and_is_counted_meanwhile():
    with RelayRig() as rig:
        resolver = Slow()
        client, traffic = opened(rig, resolver, "name", rig.destination[1])
        assert (rig.tracker.tcp_live, traffic.opened, traffic.closed) == (1, 1, 0)
        client.sendall(b"x")
        ((host, done),) = resolver.asked
        assert host == "name"
        done(("127.0.0.1",))
        rig.turn_until(lambda: readable(rig.server))
        server, _ = rig.server.accept()
        rig.turn_until(lambda: readable(rig.keep(server)))
        assert server.recv(64) == b"x"


def test_a_client_that_left_before_the_name_was_known_is_no_loss():
    with RelayRig() as rig:
        resolver = Slow()
        client, traffic = opened(rig, resolver, "name", rig.destination[1], [Xor()])
        client.close()
        resolver.asked[0][1](("127.0.0.1",))
        rig.turn_until(lambda: readable(rig.server))
        server, _ = rig.server.accept()
        with server:
            rig.turn_until(lambda: readable(server))
            assert server.recv(1) == b""
        rig.turn_until(lambda: rig.tracker.tcp_live == 0)
        assert (traffic.closed, rig.tracker.errors) == (1, {})


@pytest.mark.parametrize(
    ("layers", "answer", "kind"),
    [([], None, Flow), ([Xor()], None, LayeredFlow), ([], Words(), LayeredFlow)],
)
def test_only_who_has_something_to_say_pays_for_layers(layers, answer, kind):
    with RelayRig() as rig:
        opened(rig, Table(), *rig.destination, layers, answer)
        assert [type(each) for each in rig.reactor._table if isinstance(each, Flow)] == [kind]
