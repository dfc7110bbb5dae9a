"""SOCKS towards clients, over real sockets: requests, refusals, every way to break off."""

from __future__ import annotations

import socket
import struct

import pytest
from support.inbound import InboundRig
from support.loopback import both_loops

from mihomo_tproxy.config.schema import HostEntry
from mihomo_tproxy.config.specs.listener import AccessSpec
from mihomo_tproxy.inbound.handshake import HANDSHAKE_S
from mihomo_tproxy.net.resolve import SystemResolver

GREETING = b"\x05\x01\x00"
WITH_PASSWORD = b"\x05\x02\x00\x02"
GRANTED5 = bytes.fromhex("05000001000000000000")
GRANTED4 = bytes.fromhex("005a000000000000")
ACCESS = AccessSpec(users=(("user", "secret"),))


def connect5(port, host=b"\x01\x7f\x00\x00\x01", command=1):
    return bytes([5, command, 0]) + host + struct.pack(">H", port)


def connect4(port, user=b"", name=b""):
    address = b"\x00\x00\x00\x01" if name else b"\x7f\x00\x00\x01"
    rest = name + b"\0" if name else b""
    return b"\x04\x01" + struct.pack(">H", port) + address + user + b"\0" + rest


def flows_both_ways(rig, client, server):
    client.sendall(b"ping")
    rig.expect(server, b"ping")
    server.sendall(b"pong")
    rig.expect(client, b"pong")


@both_loops
def test_socks5_connect(loop_factory):
    with InboundRig("socks", loop_factory=loop_factory) as rig:
        client = rig.client(GREETING)
        rig.expect(client, b"\x05\x00")
        client.sendall(connect5(rig.port))
        server = rig.accept()
        rig.expect(client, GRANTED5)
        flows_both_ways(rig, client, server)
        (asked,) = rig.engine.asked
        assert (asked.network, asked.inbound, asked.inbound_name) == ("tcp", "Socks5", "test-in")
        assert (asked.destination, asked.host, asked.destination_port) == (
            "127.0.0.1", "", rig.port,
        )  # fmt: skip
        assert (asked.source, asked.source_port) == client.getsockname()
        assert rig.tracker.errors == {}


def test_socks5_all_in_one_segment_with_payload():
    with InboundRig("socks") as rig:
        client = rig.client(GREETING + connect5(rig.port) + b"early")
        server = rig.accept()
        rig.expect(client, b"\x05\x00" + GRANTED5)
        rig.expect(server, b"early")
        flows_both_ways(rig, client, server)


def test_socks5_byte_by_byte():
    with InboundRig("socks", access=ACCESS) as rig:
        client = rig.client()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        talk = WITH_PASSWORD + b"\x01\x04user\x06secret" + connect5(rig.port) + b"x"
        for place in range(len(talk)):
            client.sendall(talk[place : place + 1])
            rig.turn(0.001)
        rig.expect(client, b"\x05\x02\x01\x00" + GRANTED5)
        rig.expect(rig.accept(), b"x")
        assert rig.engine.asked[0].inbound_user == "user"


def test_socks5_name():
    with InboundRig("socks") as rig:
        client = rig.client(GREETING + connect5(rig.port, b"\x03\x0aLocalHost."))
        rig.accept()
        rig.expect(client, b"\x05\x00" + GRANTED5)
        (asked,) = rig.engine.asked
        assert (asked.destination, asked.host) == ("", "localhost")


@pytest.mark.parametrize("literal", [b"\x03\x09127.0.0.1", b"\x03\x10::ffff:127.0.0.1"])
def test_socks5_literal_as_name(literal):
    with InboundRig("socks") as rig:
        rig.client(GREETING + connect5(rig.port, literal))
        rig.accept()
        (asked,) = rig.engine.asked
        assert (asked.destination, asked.host) == ("127.0.0.1", "")


@pytest.mark.parametrize("name", [b"a b", b"a\0b", b".", b"a\x7f"])
def test_socks5_no_name(name):
    with InboundRig("socks") as rig:
        host = b"\x03" + bytes([len(name)]) + name
        client = rig.client(GREETING + connect5(80, host))
        got = rig.read_until_end(client)
        assert got[:3] == b"\x05\x00\x05"
        assert got[3] in (4, 8)
        assert rig.tracker.errors == {"bad-address": 1}


@pytest.mark.parametrize(
    ("talk", "answer", "cause"),
    [
        (b"\x05\x01\x01", b"\x05\xff", "socks5-no-method"),
        (GREETING + b"\x04\x01\0\x01", b"\x05\x00", "socks5-bad-request"),
        (GREETING + connect5(80, b"\x05\x7f\0\0\1"), None, "bad-address"),
        (GREETING + connect5(80, command=2), None, "socks5-command"),
        (GREETING + connect5(80, command=9), None, "socks5-command"),
        (b"\x04\x02\0\x50\x7f\0\0\1\0", b"\0\x5b" + bytes(6), "socks4-command"),
        (b"\x04\x01\0\x50\0\0\0\1\0\0", b"\0\x5b" + bytes(6), "socks4-bad-request"),
        (b"\x04\x01\0\x50\x7f\0\0\1" + b"u" * 300, b"\0\x5b" + bytes(6), "socks4-bad-request"),
    ],
)
def test_refused(talk, answer, cause):
    with InboundRig("socks") as rig:
        client = rig.client(talk)
        got = rig.read_until_end(client)
        if answer is None:
            assert got[:3] in (b"\x05\x00\x05",)
            assert got[3] in (7, 8)
        else:
            assert got == answer
        assert rig.tracker.errors == {cause: 1}
        assert rig.reactor.crashes == 0


@pytest.mark.parametrize("talk", [b"GET / HTTP/1.1\r\n\r\n", b"\x06", b"\x00\x00"])
def test_another_protocol_is_reset(talk):
    with InboundRig("socks") as rig:
        client = rig.client(talk)
        with pytest.raises(ConnectionResetError):
            rig.read_until_end(client)
        assert rig.tracker.errors == {"socks-bad-version": 1}


def test_socks5_passwords():
    with InboundRig("socks", access=ACCESS) as rig:
        client = rig.client(WITH_PASSWORD + b"\x01\x04user\x05wrong")
        assert rig.read_until_end(client) == b"\x05\x02\x01\x01"
        client = rig.client(GREETING)
        assert rig.read_until_end(client) == b"\x05\xff"
        client = rig.client(WITH_PASSWORD + b"\x01\x04user\x06secret" + connect5(rig.port))
        rig.accept()
        rig.expect(client, b"\x05\x02\x01\x00" + GRANTED5)
        assert rig.tracker.errors == {"socks5-auth-failed": 1, "socks5-no-method": 1}


def test_what_hosts_say_comes_before_the_rules():
    hosts = {"fixed.test": HostEntry(("127.0.0.1",)), "alias.test": HostEntry(alias="localhost")}
    with InboundRig("socks") as rig:
        rig.tunnel.resolver = SystemResolver(rig.loop, hosts)
        for name, host, destination in (
            (b"Fixed.test", "fixed.test", "127.0.0.1"),
            (b"alias.test", "localhost", ""),
        ):
            rig.client(GREETING + connect5(rig.port, b"\3" + bytes([len(name)]) + name))
            rig.accept()
            asked = rig.engine.asked.pop()
            assert (asked.host, asked.destination) == (host, destination)
            assert asked.fixed == bool(destination)


def test_socks4():
    with InboundRig("socks") as rig:
        client = rig.client(connect4(rig.port, b"me") + b"early")
        server = rig.accept()
        rig.expect(client, GRANTED4)
        rig.expect(server, b"early")
        flows_both_ways(rig, client, server)
        (asked,) = rig.engine.asked
        assert (asked.inbound, asked.destination, asked.inbound_user) == (
            "Socks4", "127.0.0.1", "me",
        )  # fmt: skip


def test_socks4a():
    with InboundRig("socks") as rig:
        client = rig.client(connect4(rig.port, name=b"localhost"))
        rig.accept()
        rig.expect(client, GRANTED4)
        assert rig.engine.asked[0].host == "localhost"


def test_socks4_users():
    with InboundRig("socks", access=AccessSpec(users=(("me", ""), ("you", "x")))) as rig:
        assert rig.read_until_end(rig.client(connect4(rig.port, b"you"))) == b"\0\x5d" + bytes(6)
        client = rig.client(connect4(rig.port, b"me"))
        rig.accept()
        rig.expect(client, GRANTED4)
        assert rig.tracker.errors == {"socks4-auth-failed": 1}


def test_failure_is_told():
    with InboundRig("socks") as rig:
        rig.server.close()
        client = rig.client(GREETING + connect5(rig.port))
        assert rig.read_until_end(client) == b"\x05\x00\x05\x05\x00\x01" + bytes(6)
        client = rig.client(connect4(rig.port))
        assert rig.read_until_end(client) == b"\0\x5b" + bytes(6)
        assert rig.tracker.errors == {"dial-refused": 2}


def test_rejection_is_told():
    with InboundRig("socks") as rig:
        rig.engine.by_port[rig.port] = "REJECT"
        client = rig.client(GREETING + connect5(rig.port))
        assert rig.read_until_end(client)[2:4] == b"\x05\x02"


def test_fixed_proxy_asks_no_rule():
    with InboundRig("socks", proxy="REJECT") as rig:
        client = rig.client(GREETING + connect5(rig.port))
        assert rig.read_until_end(client)[2:4] == b"\x05\x02"
        assert rig.engine.asked == []


@pytest.mark.parametrize("said", [b"", b"\x05", GREETING, GREETING + b"\x05\x01\0\x03\xffabc"])
def test_slow_client_is_given_up(said):
    with InboundRig("socks") as rig:
        client = rig.client(said)
        if not said:  # the kernel keeps a silent client to itself, for a while
            rig.inbound._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 0)
            client = rig.client()
        rig.turn(0.02)
        rig.later(HANDSHAKE_S / 2)
        rig.turn()
        assert rig.tracker.errors == {}
        rig.later(HANDSHAKE_S)
        rig.turn()
        assert rig.tracker.errors == {"handshake-timeout": 1}
        with pytest.raises(ConnectionResetError):
            rig.read_until_end(client)


def test_silent_client_that_speaks_later():
    with InboundRig("mixed") as rig:
        rig.inbound._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 0)
        client = rig.client()
        rig.turn(0.02)
        client.sendall(GREETING + connect5(rig.port))
        rig.accept()
        rig.expect(client, b"\x05\x00" + GRANTED5)


@pytest.mark.parametrize("said", [b"\x05", GREETING, connect4(80)[:7]])
def test_client_that_leaves(said):
    with InboundRig("socks") as rig:
        rig.client(said).close()
        rig.turn_until(lambda: rig.tracker.errors != {})
        assert set(rig.tracker.errors) <= {"handshake-ended", "handshake-reset"}
        assert rig.tracker.tcp_live == 0


def test_addresses_that_are_not_allowed():
    with InboundRig("socks", access=AccessSpec(allowed=())) as rig:
        client = rig.client(GREETING)
        with pytest.raises(ConnectionResetError):
            rig.read_until_end(client)
        assert rig.tracker.errors == {"not-allowed": 1}


def test_reload_changes_what_is_asked():
    with InboundRig("socks") as rig:
        rig.inbound.configure(rig.context, rig.spec, ACCESS)
        assert rig.read_until_end(rig.client(GREETING)) == b"\x05\xff"
        rig.inbound.configure(rig.context, rig.spec, AccessSpec())
        rig.expect(rig.client(GREETING), b"\x05\x00")
