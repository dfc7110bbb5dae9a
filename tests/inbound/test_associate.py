"""UDP ASSOCIATE: full cone, who may send, rules per destination, and its end."""

from __future__ import annotations

import socket

import pytest
from support.inbound import InboundRig
from support.loopback import both_loops, readable

from mihomo_tproxy.codec.socks5 import encode_udp, parse_udp
from mihomo_tproxy.inbound import associate

ASK = b"\x05\x01\x00\x05\x03\x00\x01" + bytes(6)


class Client:
    """An association and a socket to use it with."""

    def __init__(self, rig, host="127.0.0.1"):
        self.rig = rig
        self.control = rig.client(ASK)
        rig.expect(self.control, b"\x05\x00\x05\x00\x00")
        kind = rig.read_until(self.control, b"\x04" if ":" in host else b"\x01")
        family = socket.AF_INET6 if len(kind) and kind[-1] == 4 else socket.AF_INET
        size = 16 if family == socket.AF_INET6 else 4
        rig.turn_until(lambda: readable(self.control))
        rest = self.control.recv(size + 2)
        self.relay = (socket.inet_ntop(family, rest[:size]), int.from_bytes(rest[size:], "big"))
        self.sock = rig.keep(socket.socket(family, socket.SOCK_DGRAM))
        self.sock.bind((host, 0))

    def send(self, data, host, port):
        self.sock.sendto(encode_udp(data, host, port), self.relay)

    def receive(self):
        self.rig.turn_until(lambda: readable(self.sock))
        data, sender = self.sock.recvfrom(65536)
        assert sender[:2] == self.relay
        host, port, offset = parse_udp(data)
        return data[offset:], (host, port)


def remote(rig, host="127.0.0.1"):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = rig.keep(socket.socket(family, socket.SOCK_DGRAM))
    sock.bind((host, 0))
    return sock


def expect_at(rig, sock, data):
    rig.turn_until(lambda: readable(sock))
    got, sender = sock.recvfrom(65536)
    assert got == data
    return sender


@both_loops
def test_there_and_back(loop_factory):
    with InboundRig("socks", loop_factory=loop_factory) as rig:
        client, server = Client(rig), remote(rig)
        assert client.relay[0] == "127.0.0.1"
        client.send(b"ping", *server.getsockname())
        sender = expect_at(rig, server, b"ping")
        server.sendto(b"pong", sender)
        assert client.receive() == (b"pong", server.getsockname())
        (asked,) = rig.engine.asked
        assert (asked.network, asked.inbound, asked.inbound_name) == ("udp", "Socks5", "test-in")
        assert (asked.source, asked.source_port) == client.sock.getsockname()
        assert (rig.tracker.datagrams_up, rig.tracker.datagrams_down) == (1, 1)
        assert rig.tracker.udp_live == 1


@pytest.mark.parametrize("size", [0, 1, 1400, 8000, 60000])
def test_sizes(size):
    with InboundRig("socks") as rig:
        client, server = Client(rig), remote(rig)
        client.send(b"x" * size, *server.getsockname())
        server.sendto(b"y" * size, expect_at(rig, server, b"x" * size))
        assert client.receive()[0] == b"y" * size


def test_full_cone():
    with InboundRig("socks") as rig:
        client = Client(rig)
        servers = [remote(rig) for _ in range(5)]
        senders = set()
        for server in servers:
            client.send(b"hi", *server.getsockname())
            senders.add(expect_at(rig, server, b"hi"))
        (mapped,) = senders
        stranger = remote(rig)
        stranger.sendto(b"from nowhere", mapped)
        assert client.receive() == (b"from nowhere", stranger.getsockname())


def test_names_stay_names():
    with InboundRig("socks") as rig:
        client, server = Client(rig), remote(rig)
        client.send(b"ping", "LocalHost", server.getsockname()[1])
        server.sendto(b"pong", expect_at(rig, server, b"ping"))
        assert client.receive() == (b"pong", server.getsockname())
        (asked,) = rig.engine.asked
        assert (asked.destination, asked.host) == ("", "localhost")


def test_rules_decide_per_destination():
    with InboundRig("socks") as rig:
        client, good, bad = Client(rig), remote(rig), remote(rig)
        rig.engine.by_port[bad.getsockname()[1]] = "REJECT"
        client.send(b"no", *bad.getsockname())
        rig.wait_error("udp-rejected")
        client.send(b"yes", *good.getsockname())
        expect_at(rig, good, b"yes")
        assert not readable(bad)
        rig.engine.by_port[1] = "nowhere"
        client.send(b"no", "127.0.0.1", 1)
        rig.wait_error("no-outbound")


def test_rules_are_asked_once_for_each_destination():
    with InboundRig("socks") as rig:
        client, server = Client(rig), remote(rig)
        for _ in range(3):
            client.send(b"x", *server.getsockname())
            expect_at(rig, server, b"x")
        assert len(rig.engine.asked) == 1


def test_fixed_proxy():
    with InboundRig("socks", proxy="REJECT") as rig:
        Client(rig).send(b"x", "127.0.0.1", 9)
        rig.wait_error("udp-rejected")
        assert rig.engine.asked == []


def test_ipv6():
    with InboundRig("socks", host="::1") as rig:
        client, server = Client(rig, "::1"), remote(rig, "::1")
        assert client.relay[0] == "::1"
        client.send(b"ping", *server.getsockname()[:2])
        server.sendto(b"pong", expect_at(rig, server, b"ping"))
        assert client.receive() == (b"pong", server.getsockname()[:2])


def test_only_the_client_may_send():
    with InboundRig("socks") as rig:
        client, server = Client(rig), remote(rig)
        other = remote(rig, "127.0.0.2")
        datagram = encode_udp(b"x", *server.getsockname())
        other.sendto(datagram, client.relay)
        rig.wait_error("udp-stranger")
        client.send(b"mine", *server.getsockname())
        expect_at(rig, server, b"mine")
        same_host = remote(rig)
        same_host.sendto(datagram, client.relay)
        rig.turn_until(lambda: rig.tracker.errors["udp-stranger"] == 2)
        assert not readable(server)


@pytest.mark.parametrize(
    ("datagram", "cause"),
    [
        (b"", "socks5-short"),
        (bytes(6), "socks5-short"),
        (b"\0\0\1\1\x7f\0\0\1\0\x07x", "socks5-fragment"),
        (b"\0\0\0\x09\x7f\0\0\1\0\x07x", "bad-address"),
        (b"\0\0\0\1\x7f\0\0\1\0", "socks5-short"),
        (b"\0\0\0\4" + bytes(17), "socks5-short"),
        (b"\0\0\0\3\xff" + b"a" * 20, "socks5-short"),
        (b"\0\0\0\3\3a b\0\x07x", "bad-address"),
    ],
)
def test_datagrams_that_are_none(datagram, cause):
    with InboundRig("socks") as rig:
        client, server = Client(rig), remote(rig)
        client.sock.sendto(datagram, client.relay)
        rig.wait_error(cause)
        client.send(b"after", *server.getsockname())
        expect_at(rig, server, b"after")
        assert rig.reactor.crashes == 0


def test_end_of_the_connection_ends_the_association():
    with InboundRig("socks") as rig:
        client, server = Client(rig), remote(rig)
        client.send(b"x", *server.getsockname())
        expect_at(rig, server, b"x")
        assert rig.inbound.associations == 1
        client.control.close()
        rig.turn_until(lambda: rig.inbound.associations == 0)
        assert rig.tracker.udp_live == 0
        gone = remote(rig)
        gone.connect(client.relay)
        gone.send(b"x")
        rig.turn()
        with pytest.raises(ConnectionRefusedError):
            gone.send(b"x")


def test_words_on_the_connection_are_passed_over():
    with InboundRig("socks") as rig:
        client, server = Client(rig), remote(rig)
        client.control.sendall(b"chatter")
        client.send(b"x", *server.getsockname())
        expect_at(rig, server, b"x")


def test_quiet_destinations_are_forgotten_but_not_the_association():
    with InboundRig("socks") as rig:
        client, server = Client(rig), remote(rig)
        client.send(b"x", *server.getsockname())
        before = expect_at(rig, server, b"x")
        rig.later(rig.tunnel.nat.udp_timeout_s / 2)
        assert rig.tracker.udp_live == 1
        rig.later(rig.tunnel.nat.udp_timeout_s)
        assert rig.tracker.udp_live == 0
        client.send(b"y", *server.getsockname())
        assert expect_at(rig, server, b"y") != before
        assert rig.tracker.udp_live == 1


def test_replies_keep_a_destination():
    with InboundRig("socks") as rig:
        client, server = Client(rig), remote(rig)
        client.send(b"x", *server.getsockname())
        sender = expect_at(rig, server, b"x")
        for _ in range(4):
            rig.later(rig.tunnel.nat.udp_timeout_s * 0.6)
            server.sendto(b"y", sender)
            assert client.receive() == (b"y", server.getsockname())
        assert rig.tracker.udp_live == 1


def test_replies_of_others_keep_the_port():
    with InboundRig("socks") as rig:
        client, server, other = Client(rig), remote(rig), remote(rig)
        client.send(b"x", *server.getsockname())
        sender = expect_at(rig, server, b"x")
        for _ in range(4):
            rig.later(rig.tunnel.nat.udp_timeout_s * 0.6)
            other.sendto(b"y", sender)
            assert client.receive() == (b"y", other.getsockname())
        assert rig.tracker.udp_live == 0
        client.send(b"x", *server.getsockname())
        assert expect_at(rig, server, b"x") == sender


def test_destinations_are_capped(monkeypatch):
    monkeypatch.setattr(associate, "DESTINATION_LIMIT", 3)
    monkeypatch.setattr(associate, "REMOTE_LIMIT", 3)
    with InboundRig("socks") as rig:
        client = Client(rig)
        for _ in range(6):
            server = remote(rig)
            client.send(b"x", *server.getsockname())
            server.sendto(b"y", expect_at(rig, server, b"x"))
            assert client.receive() == (b"y", server.getsockname())
        assert rig.tracker.udp_live == 3


def test_associations_are_capped(monkeypatch):
    monkeypatch.setattr(associate, "ASSOCIATION_LIMIT", 1)
    with InboundRig("socks") as rig:
        Client(rig)
        got = rig.read_until_end(rig.client(ASK))
        assert got == b"\x05\x00\x05\x01\x00\x01" + bytes(6)
        assert rig.tracker.errors == {"udp-association-limit": 1}


def test_without_udp():
    with InboundRig("socks", udp=False) as rig:
        got = rig.read_until_end(rig.client(ASK))
        assert got == b"\x05\x00\x05\x07\x00\x01" + bytes(6)
        assert rig.tracker.errors == {"socks5-command": 1}


def test_shutdown_closes_everything():
    with InboundRig("socks") as rig:
        client, server = Client(rig), remote(rig)
        client.send(b"x", *server.getsockname())
        expect_at(rig, server, b"x")
    assert rig.tracker.udp_live == 0
    assert rig.inbound.associations == 0
