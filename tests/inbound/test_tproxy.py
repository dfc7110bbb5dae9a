"""The inbound: inherited options, original destinations, loops, running out of descriptors."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import struct

import pytest
from support.loopback import RelayRig, both_loops, readable

from mihomo_tproxy.inbound import tproxy
from mihomo_tproxy.inbound.tproxy import (
    LoopGuard,
    UdpListener,
    is_local,
    open_tcp,
    open_udp,
    original_destination,
)
from mihomo_tproxy.net.sockopt import IP_RECVORIGDSTADDR, IPV6_RECVORIGDSTADDR


def test_accepted_sockets_inherit_what_flows_need():
    listening = open_tcp(socket.AF_INET, "127.0.0.1", 0, transparent=False)
    listening = socket.socket(fileno=listening.detach())
    client = socket.create_connection(listening.getsockname())
    accepted, _ = listening.accept()
    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    for sock in (accepted, client, listening):
        sock.close()


def test_v6_listener_leaves_v4_alone():
    v6 = open_tcp(socket.AF_INET6, "::", 0, transparent=False)
    v4 = open_tcp(socket.AF_INET, "0.0.0.0", v6.getsockname()[1], transparent=False)
    assert v4.getsockname()[1] == v6.getsockname()[1]
    v4.close()
    v6.close()


@pytest.mark.parametrize("opener", [open_tcp, open_udp])
def test_taken_address_is_an_error_without_a_leak(opener):
    with pytest.raises(OSError, match="assign requested address"):
        opener(socket.AF_INET, "192.0.2.1", 0, transparent=False)


def test_reuse_port_lets_workers_share():
    first = open_udp(socket.AF_INET, "127.0.0.1", 0, transparent=False, reuse_port=True)
    port = first.getsockname()[1]
    second = open_udp(socket.AF_INET, "127.0.0.1", port, transparent=False, reuse_port=True)
    second.close()
    first.close()


def test_original_destination_v4():
    data = struct.pack("=H", socket.AF_INET) + struct.pack(">H4s8x", 443, bytes([192, 0, 2, 1]))
    ancillary = [(0, 1, b"other"), (socket.IPPROTO_IP, IP_RECVORIGDSTADDR, data)]
    assert original_destination(ancillary) == ("192.0.2.1", 443)


def test_original_destination_v6():
    address = socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    data = struct.pack("=H", socket.AF_INET6) + struct.pack(">HI16s", 443, 0, address)
    data += struct.pack("=I", 3)
    ancillary = [(socket.IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, data)]
    assert original_destination(ancillary) == ("2001:db8::1", 443, 0, 3)


def test_original_destination_missing():
    assert original_destination([]) is None


def test_is_local():
    assert is_local("127.0.0.1", socket.AF_INET)
    assert not is_local("192.0.2.1", socket.AF_INET)


@pytest.mark.parametrize(
    ("bound", "destination", "loop"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "192.0.2.1", False),
        ("0.0.0.0", "127.0.0.1", True),
        ("0.0.0.0", "192.0.2.1", False),
    ],
)
def test_loop_guard(bound, destination, loop):
    listening = open_tcp(socket.AF_INET, bound, 0, transparent=False)
    guard = LoopGuard(listening)
    assert guard.is_loop((destination, guard.port)) is loop
    listening.close()


@both_loops
def test_connection_to_the_listener_itself_is_reset(loop_factory):
    with RelayRig(loop_factory) as rig:
        rig.destination = rig.address
        client = rig.connect()
        rig.turn_until(lambda: rig.tracker.errors != {})
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert rig.tracker.errors == {"loop": 1}


def test_tunnel_that_raises_costs_one_client():
    with RelayRig() as rig:
        match, rig.engine.match = rig.engine.match, None
        client = rig.connect()
        rig.turn_until(lambda: rig.tracker.errors != {})
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        rig.engine.match = match
        rig.pair()
        assert rig.tracker.errors == {"internal-error": 1}


@both_loops
def test_running_out_of_descriptors_pauses_and_recovers(loop_factory, monkeypatch):
    monkeypatch.setattr(tproxy, "ACCEPT_PAUSE_S", 0.02)
    with RelayRig(loop_factory) as rig:
        rig.turn()
        client = rig.connect()
        errors = rig.tracker.errors

        async def starve() -> int:
            before = resource.getrlimit(resource.RLIMIT_NOFILE)
            lowest_free = os.dup(0)
            os.close(lowest_free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, before[1]))
            try:
                while errors.get("accept-no-descriptor", 0) < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
                for _ in range(100):
                    await asyncio.sleep(0)
                return errors["accept-no-descriptor"]
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, before)

        assert rig.loop.run_until_complete(starve()) < 50
        rig.turn_until(lambda: readable(rig.server))
        assert rig.tracker.tcp_live == 1
        client.close()


def test_closed_listener_leaves_flows_alone():
    with RelayRig() as rig:
        client, server = rig.pair()
        rig.listener.close()
        rig.listener.close()
        client.sendall(b"still")
        rig.turn_until(lambda: readable(server))
        assert server.recv(16) == b"still"
        with pytest.raises(ConnectionRefusedError):
            rig.connect()


class Sink:
    def __init__(self):
        self.got = []

    def handle_udp(self, data, source, destination):
        self.got.append((bytes(data), source, destination))


@both_loops
def test_datagrams_reach_the_sink_with_their_destination(loop_factory):
    with RelayRig(loop_factory) as rig:
        sock = open_udp(socket.AF_INET, "127.0.0.1", 0, transparent=False)
        address = sock.getsockname()
        destinations = [("192.0.2.1", 53), None, ("127.0.0.1", address[1])]
        sink = Sink()
        listener = UdpListener(
            rig.reactor, sock, sink, rig.tracker, lambda ancillary: destinations.pop(0)
        )
        listener.start()
        client = rig.keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        client.bind(("127.0.0.1", 0))
        for word in (b"one", b"two", b"three"):
            client.sendto(word, address)
        rig.turn_until(lambda: not destinations)
        assert sink.got == [(b"one", client.getsockname(), ("192.0.2.1", 53))]
        assert rig.tracker.errors == {"udp-no-destination": 1, "loop": 1}
        listener.close()


def test_kernel_tells_the_original_destination():
    with RelayRig() as rig:
        sock = open_udp(socket.AF_INET, "0.0.0.0", 0, transparent=False)
        sink = Sink()
        listener = UdpListener(rig.reactor, sock, sink, rig.tracker)
        listener._guard.port = 0
        listener.start()
        client = rig.keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        port = sock.getsockname()[1]
        client.sendto(b"x", ("127.3.4.5", port))
        rig.turn_until(lambda: bool(sink.got))
        assert sink.got[0][2] == ("127.3.4.5", port)
        listener.close()
