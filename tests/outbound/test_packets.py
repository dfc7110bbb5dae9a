"""Datagrams over streams: queueing, replies, retries, one stream per remote; the stream itself."""

from __future__ import annotations

import socket

import pytest
from support.flows import metadata
from support.layers import Datagrams, Greeting, Windowed, Xor
from support.loopback import RelayRig, readable

from mihomo_tproxy.codec.layer import Packet
from mihomo_tproxy.config.specs.base import ServerSpec
from mihomo_tproxy.errors import LocalProtocolError
from mihomo_tproxy.outbound.env import OutboundEnv
from mihomo_tproxy.outbound.packets import IDLE_S, QUEUE_DATAGRAMS
from mihomo_tproxy.outbound.proxy import ProxyOutbound
from mihomo_tproxy.outbound.registry import OutboundRegistry
from mihomo_tproxy.transport.carrier import Carrier


class Sink:
    """Keeps what a link delivers."""

    def __init__(self) -> None:
        self.got = []

    def deliver(self, data, remote) -> None:
        self.got.append((bytes(data), remote))


class Toy(ProxyOutbound):
    """A proxy of toy layers."""

    make = staticmethod(lambda: [Greeting(), Datagrams()])

    def stream_layers(self, host, port):
        return [Xor(header=f"{host} {port}\n".encode())]

    def packet_layers(self, host, port):
        return self.make()


def toy(rig, make=None, *, per_destination=False, udp=True, dialer_proxy="", port=None, name="toy"):
    env = OutboundEnv(rig.context, rig.resolver, None)
    env.outbounds = rig.outbounds
    host, own = rig.destination
    spec = ServerSpec(
        name, "toy", server=host, port=port or own, udp=udp, dialer_proxy=dialer_proxy
    )
    outbound = Toy(env, spec, Carrier())
    outbound.packet_per_destination = per_destination
    if make is not None:
        outbound.make = make
    return outbound


def accept(rig):
    rig.turn_until(lambda: readable(rig.server))
    proxy, _ = rig.server.accept()
    return rig.keep(proxy)


def receive(rig, sock, size):
    got = b""
    while len(got) < size:
        rig.turn_until(lambda: readable(sock))
        data = sock.recv(size - len(got))
        assert data
        got += data
    return got


def test_datagrams_wait_for_the_handshake_and_replies_come_from_their_remote():
    with RelayRig() as rig:
        sink = Sink()
        link = toy(rig).open_udp(sink)
        link.send(memoryview(b"one"), ("192.0.2.1", 53))
        link.send(memoryview(b"two"), ("2001:db8::1", 54, 0, 0))
        proxy = accept(rig)
        assert receive(rig, proxy, 6) == b"hello\n"
        proxy.sendall(b"welcome\n198.51.100.9 99 2\nab2001:db8::9 7 0\n")
        expected = b"192.0.2.1 53 3\none2001:db8::1 54 3\ntwo"
        assert receive(rig, proxy, len(expected)) == expected
        rig.turn_until(lambda: len(sink.got) == 2)
        assert sink.got == [(b"ab", ("198.51.100.9", 99)), (b"", ("2001:db8::9", 7, 0, 0))]
        link.send(memoryview(b"three"), ("name.test", 5))
        assert receive(rig, proxy, 19) == b"name.test 5 5\nthree"
        link.close()
        assert rig.tracker.errors == {}


def test_what_waits_is_capped():
    with RelayRig() as rig:
        link = toy(rig).open_udp(Sink())
        for _ in range(QUEUE_DATAGRAMS + 3):
            link.send(memoryview(b"x"), ("192.0.2.1", 53))
        assert rig.tracker.errors == {"udp-queue-full": 3}
        link.close()


def test_a_stream_that_ended_is_replaced_but_not_at_once():
    with RelayRig() as rig:
        link = toy(rig, lambda: [Datagrams()]).open_udp(Sink())
        link.send(memoryview(b"x"), ("192.0.2.1", 53))
        proxy = accept(rig)
        receive(rig, proxy, 16)
        proxy.close()
        rig.turn_until(lambda: link._stream is None)
        link.send(memoryview(b"y"), ("192.0.2.1", 53))
        assert rig.tracker.errors == {"udp-stream-down": 1}
        rig.later(2.0)
        link.send(memoryview(b"z"), ("192.0.2.1", 53))
        assert receive(rig, accept(rig), 16) == b"192.0.2.1 53 1\nz"
        link.close()


@pytest.mark.parametrize(("said", "cause"), [(b"no", "toy-refused"), (None, "toy-truncated")])
def test_a_handshake_that_fails_is_counted(said, cause):
    with RelayRig() as rig:
        link = toy(rig).open_udp(Sink())
        link.send(memoryview(b"x"), ("192.0.2.1", 53))
        proxy = accept(rig)
        receive(rig, proxy, 6)
        if said:
            proxy.sendall(said)
        else:
            proxy.close()
        rig.turn_until(lambda: rig.tracker.errors != {})
        assert rig.tracker.errors == {cause: 1}
        link.close()


def test_a_server_that_refuses_or_stalls():
    with RelayRig() as rig:
        closed = socket.create_server(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        closed.close()
        link = toy(rig, port=port).open_udp(Sink())
        link.send(memoryview(b"x"), ("192.0.2.1", 53))
        rig.turn_until(lambda: rig.tracker.errors != {})
        assert rig.tracker.errors == {"dial-refused": 1}
        stalled = toy(rig).open_udp(Sink())
        stalled.send(memoryview(b"x"), ("192.0.2.1", 53))
        receive(rig, accept(rig), 6)
        rig.later(10.0)
        assert rig.tracker.errors == {"dial-refused": 1, "handshake-timeout": 1}


def test_one_stream_for_each_remote_where_the_protocol_says_no_address():
    class Nameless(Datagrams):
        def feed_packets(self, data):
            return [Packet(bytes(data), "", 0)]

    with RelayRig() as rig:
        sink = Sink()
        link = toy(rig, lambda: [Nameless()], per_destination=True).open_udp(sink)
        link.send(memoryview(b"a"), ("192.0.2.1", 1))
        first = accept(rig)
        link.send(memoryview(b"b"), ("192.0.2.2", 2))
        second = accept(rig)
        first.sendall(b"from-1")
        second.sendall(b"from-2")
        rig.turn_until(lambda: len(sink.got) == 2)
        assert sorted(sink.got) == [(b"from-1", ("192.0.2.1", 1)), (b"from-2", ("192.0.2.2", 2))]
        link.close()


def test_a_server_that_takes_nothing_costs_datagrams_not_memory():
    with RelayRig() as rig:
        link = toy(rig, lambda: [Datagrams()]).open_udp(Sink())
        link.send(memoryview(b"x"), ("192.0.2.1", 1))
        receive(rig, accept(rig), 15)
        for _ in range(2000):
            link.send(memoryview(bytes(8000)), ("192.0.2.1", 1))
        assert rig.tracker.errors["udp-stream-full"] > 0
        link.close()


def test_udp_false_gives_no_link():
    with RelayRig() as rig:
        outbound = toy(rig, udp=False)
        assert outbound.open_udp(Sink()) is None
        outbound.refuse_udp(("192.0.2.1", 1), ("192.0.2.2", 2), 10)
        assert rig.tracker.errors == {"udp-disabled": 1}


def test_tcp_names_the_destination_to_the_server():
    with RelayRig() as rig:
        rig.tunnel.outbounds = OutboundRegistry([toy(rig)])
        rig.engine.decision = rig.engine.decision._replace(target="toy")
        client = rig.connect()
        client.sendall(b"x")
        host, port = rig.destination
        proxy = accept(rig)
        expected = f"{host} {port}\n".encode() + b"-"
        assert receive(rig, proxy, len(expected)) == expected


def test_a_chain_speaks_the_inner_protocol_inside_the_outer():
    with RelayRig() as rig:
        rig.outbounds.add(toy(rig, name="outer"))
        inner = toy(rig, dialer_proxy="outer", port=4433, name="inner")
        route = inner.route("192.0.2.7", 80)
        assert (route.host, route.port) == rig.destination
        assert [layer.header for layer in route.layers] == [
            f"{rig.destination[0]} 4433\n".encode(),
            b"192.0.2.7 80\n",
        ]
        broken = toy(rig, dialer_proxy="gone")
        with pytest.raises(LocalProtocolError, match="gone"):
            broken.route("192.0.2.7", 80)
        client, other = socket.socketpair()
        rig.keep(other)
        broken.open_tcp(client, metadata())
        assert rig.tracker.errors == {"no-dialer-proxy": 1}


def test_a_window_that_is_shut_costs_datagrams_but_no_header():
    class Headed(Datagrams):
        header = b"HEAD "

        def seal_packet(self, data, host, port):
            wire = self.header + super().seal_packet(data, host, port)
            self.header = b""
            return wire

    with RelayRig() as rig:
        sink = Sink()
        link = toy(rig, lambda: [Windowed(), Headed()]).open_udp(sink)
        link.send(memoryview(b"lost"), ("192.0.2.1", 1))
        proxy = accept(rig)
        rig.turn_until(lambda: rig.tracker.errors != {})
        proxy.sendall(b"++192.0.2.1 1 2\nab")
        rig.turn_until(lambda: sink.got != [])
        link.send(memoryview(b"x"), ("192.0.2.1", 1))
        assert receive(rig, proxy, 20) == b"HEAD 192.0.2.1 1 1\nx"
        assert rig.tracker.errors == {"udp-stream-full": 1}
        link.close()


def test_a_remote_that_nothing_is_heard_of_loses_its_stream():
    with RelayRig() as rig:
        sink = Sink()
        link = toy(rig, lambda: [Datagrams()], per_destination=True).open_udp(sink)
        link.send(memoryview(b"a"), ("192.0.2.1", 1))
        quiet = accept(rig)
        receive(rig, quiet, 15)
        link.send(memoryview(b"b"), ("192.0.2.2", 2))
        heard = accept(rig)
        receive(rig, heard, 15)
        rig.later(IDLE_S - 1)
        heard.sendall(b"192.0.2.2 2 2\nhi")
        rig.turn_until(lambda: sink.got != [])
        rig.later(2)
        link.send(memoryview(b"c"), ("192.0.2.3", 3))
        receive(rig, accept(rig), 15)
        rig.turn_until(lambda: readable(quiet))
        assert quiet.recv(1) == b""
        heard.sendall(b"192.0.2.2 2 2\nho")
        rig.turn_until(lambda: len(sink.got) == 2)
        link.close()
