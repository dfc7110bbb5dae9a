"""Many bytes: whole, in order, both ways at once, and no more of them held than there is room."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack

import pytest
from support.gateway import Gateway
from support.traffic import connect, exchange, fill, pair, send_pattern

from mihomo_tproxy.rig.serving import pattern_sha256

BULK_BYTES = 100_000_000
STRAGGLERS = 2_000
"""Bytes of last acknowledgements that an earlier test's flow may still send."""
FLOWS = 16
BUFFER_BYTES = 1 << 20
"""What a socket's buffer may grow to where a test wants the kernel's share of a stall small."""
MOST_HELD_BYTES = 8 << 20
"""Of one stalled flow: four such buffers on its way, and what the relay adds: a pipe or a read."""
MOST_GROWTH_KIB = 8 << 10

PATHS = {
    "kernel": {"rules": ["MATCH,DIRECT"]},
    "relay": {"rules": ["MATCH,DIRECT"], "gateway": {"verdict-cache": False}},
}
both_families = pytest.mark.parametrize("version", [4, 6])


@pytest.fixture(scope="module")
def gateway(module_rig):
    assert module_rig.servers.process.running
    with Gateway(module_rig, PATHS["kernel"]) as gateway:
        yield gateway


@pytest.fixture(scope="module", params=PATHS)
def path(request, gateway):
    gateway.reload(PATHS[request.param])
    return request.param


@pytest.fixture
def small_buffers(module_rig):
    """All sockets made meanwhile, in every node, have small buffers."""
    nodes = [module_rig.gateway, module_rig.internet, module_rig.clients[0]]
    names = ("net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem")
    before = {(node, name): node.sysctl(name) for node in nodes for name in names}
    for node, name in before:
        node.sysctl(name, f"4096 65536 {BUFFER_BYTES}")
    yield
    for (node, name), value in before.items():
        node.sysctl(name, value)


@both_families
def test_100_megabytes_both_ways_at_once(gateway, path, version):
    before = gateway.routes()
    spliced = gateway.settled_counter("spliced-bytes")
    with pair(gateway.rig, version) as (client, server):
        client.settimeout(20)
        server.settimeout(20)
        exchange(client, server, BULK_BYTES)
    counts = gateway.since(before)
    if path == "kernel":
        assert counts.kernel.bytes > BULK_BYTES
        assert counts.down_kernel.bytes > BULK_BYTES
        assert counts.relay.bytes + counts.down_relay.bytes < STRAGGLERS
        return
    assert counts.relay.bytes > BULK_BYTES
    assert counts.down_relay.bytes > BULK_BYTES
    assert counts.kernel.bytes + counts.down_kernel.bytes < STRAGGLERS
    # How much of it goes by splice depends on how fast the reader is; some always does.
    gateway.wait_counter("spliced-bytes", lambda value: value > spliced + BULK_BYTES // 10)


@both_families
def test_many_uploads_at_once(gateway, path, version):
    """The server says how much arrived and what its digest is."""
    rig = gateway.rig
    size = 2_000_000
    answers = []

    def upload():
        with connect(rig.clients[0], rig.destination(1, version), 2000) as sock:
            send_pattern(sock, size)
            answers.append(sock.makefile("rb").readline())

    threads = [threading.Thread(target=upload) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [f"{size} {pattern_sha256(size)}\n".encode()] * 8


@both_families
def test_one_byte_at_a_time(gateway, path, version):
    with pair(gateway.rig, version) as (client, server):
        for number in range(200):
            byte = bytes([number])
            client.sendall(byte)
            assert server.recv(10) == byte
            server.sendall(byte)
            assert client.recv(10) == byte


@both_families
def test_a_server_that_never_reads(gateway, small_buffers, version):
    gateway.reload(PATHS["relay"])
    rig = gateway.rig
    with ExitStack() as stack:
        address = rig.destination(1, version)
        clients = [
            stack.enter_context(connect(rig.clients[0], address, 2001)) for _ in range(FLOWS)
        ]
        assert_held(gateway, version, clients)


@both_families
def test_a_client_that_never_reads(gateway, small_buffers, version):
    gateway.reload(PATHS["relay"])
    rig = gateway.rig
    with ExitStack() as stack:
        pairs = [
            stack.enter_context(pair(rig, version, number=20 + index)) for index in range(FLOWS)
        ]
        assert_held(gateway, version, [server for _, server in pairs])


@both_families
def test_a_stalled_flow_goes_on_when_its_reader_does(gateway, small_buffers, version):
    gateway.reload(PATHS["relay"])
    with pair(gateway.rig, version) as (client, server):
        (sent,) = fill([client], most=2 * MOST_HELD_BYTES)
        assert sent < MOST_HELD_BYTES
        client.setblocking(True)
        client.shutdown(socket.SHUT_WR)
        got = 0
        while chunk := server.recv(1 << 18):
            assert not any(chunk)
            got += len(chunk)
        assert got == sent


def assert_held(gateway, version, senders):
    """Each sender is stopped, the gateway holds little, and others are served meanwhile."""
    idle = gateway.memory_kib()
    sent = fill(senders, most=2 * MOST_HELD_BYTES)
    assert all(0 < count < MOST_HELD_BYTES for count in sent), sent
    grown = gateway.memory_kib() - idle
    assert grown < MOST_GROWTH_KIB
    with pair(gateway.rig, version, number=200) as (client, server):
        client.sendall(b"ping")
        assert server.recv(10) == b"ping"
