"""Listening: inherited options, loops, running out of descriptors."""

from __future__ import annotations

import asyncio
import os
import resource
import socket

import pytest
from support.loopback import RelayRig, both_loops, readable

from mihomo_tproxy.inbound import listener
from mihomo_tproxy.inbound.listener import LoopGuard, is_local, open_tcp


def test_accepted_sockets_inherit_what_flows_need():
    listening = open_tcp(socket.AF_INET, "127.0.0.1", 0)
    listening = socket.socket(fileno=listening.detach())
    client = socket.create_connection(listening.getsockname())
    accepted, _ = listening.accept()
    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    for sock in (accepted, client, listening):
        sock.close()


def test_v6_listener_leaves_v4_alone():
    v6 = open_tcp(socket.AF_INET6, "::", 0)
    v4 = open_tcp(socket.AF_INET, "0.0.0.0", v6.getsockname()[1])
    assert v4.getsockname()[1] == v6.getsockname()[1]
    v4.close()
    v6.close()


def test_taken_address_is_an_error_without_a_leak():
    with pytest.raises(OSError, match="assign requested address"):
        open_tcp(socket.AF_INET, "192.0.2.1", 0)


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
    listening = open_tcp(socket.AF_INET, bound, 0)
    guard = LoopGuard(listening)
    assert guard.is_loop((destination, guard.port)) is loop
    listening.close()


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
    monkeypatch.setattr(listener, "ACCEPT_PAUSE_S", 0.02)
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
