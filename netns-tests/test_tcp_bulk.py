"""Many bytes: whole, in order, both ways at once, and no more of them held than there is room for."""

from __future__ import annotations

import socket
import threading

import pytest
from support.gateway import Gateway
from support.traffic import connect, exchange, fill, pair, send_pattern

from mihomo_tproxy.rig.serving import pattern_sha256

BULK_BYTES = 100_000_000
FLOWS = 16
MOST_HELD_BYTES = 32 << 20
"""Of one stalled flow: the kernel's buffers of four sockets (tcp_rmem and tcp_wmem, 4 to 6 MB
each), and what the relay adds, one pipe or one read."""
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
        assert counts.relay.packets == counts.down_relay.packets == 0
        return
    assert counts.relay.bytes > BULK_BYTES
    assert counts.down_relay.bytes > BULK_BYTES
    assert counts.kernel.packets == counts.down_kernel.packets == 0
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
def test_a_server_that_never_reads(gateway, version):
    gateway.reload(PATHS["relay"])
    rig = gateway.rig
    idle = gateway.memory_kib()
    socks = [connect(rig.clients[0], rig.destination(1, version), 2001) for _ in range(FLOWS)]
    sent = [fill(sock, most=2 * MOST_HELD_BYTES) for sock in socks]
    assert all(0 < count < MOST_HELD_BYTES for count in sent), sent
    assert gateway.memory_kib() < idle + MOST_GROWTH_KIB
    assert_others_are_served(gateway, version)
    for sock in socks:
        sock.close()


@both_families
def test_a_client_that_never_reads(gateway, version):
    gateway.reload(PATHS["relay"])
    rig = gateway.rig
    idle = gateway.memory_kib()
    pairs = [pair(rig, version, number=20 + index) for index in range(FLOWS)]
    ends = [each.__enter__() for each in pairs]
    try:
        sent = [fill(server, most=2 * MOST_HELD_BYTES) for _, server in ends]
        assert all(0 < count < MOST_HELD_BYTES for count in sent), sent
        assert gateway.memory_kib() < idle + MOST_GROWTH_KIB
        assert_others_are_served(gateway, version)
    finally:
        for each in pairs:
            each.__exit__(None, None, None)


@both_families
def test_a_stalled_flow_goes_on_when_its_reader_does(gateway, version):
    gateway.reload(PATHS["relay"])
    with pair(gateway.rig, version) as (client, server):
        sent = fill(client)
        assert sent < MOST_HELD_BYTES
        client.setblocking(True)
        client.shutdown(socket.SHUT_WR)
        got = 0
        while chunk := server.recv(1 << 18):
            assert not any(chunk)
            got += len(chunk)
        assert got == sent


def assert_others_are_served(gateway, version):
    with pair(gateway.rig, version, number=200) as (client, server):
        client.sendall(b"ping")
        assert server.recv(10) == b"ping"
