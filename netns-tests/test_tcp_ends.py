"""How connections begin and end, through the kernel and through the relay, is the same."""

from __future__ import annotations

import select
import socket
import time
from contextlib import ExitStack

import pytest
from support.gateway import Gateway
from support.traffic import (
    PORT,
    assert_resets,
    connect,
    family_of,
    listen,
    pair,
    read_all,
    reset,
    talk,
    wait_reset,
)

IPPROTO_MPTCP = 262

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
    """The way every flow takes; each test's flows are checked to have taken it."""
    gateway.reload(PATHS[request.param])
    return request.param


@pytest.fixture(autouse=True)
def took(request, gateway):
    """Checks that the flows of a test with a `path` took that path and no other."""
    if "path" not in request.fixturenames:
        yield
        return
    way = request.getfixturevalue("path")
    before = gateway.routes()
    yield
    counts = gateway.since(before)
    other = {"kernel": "relay", "relay": "kernel"}[way]
    assert getattr(counts, way).flows >= 1
    assert getattr(counts, other).packets == 0


@both_families
def test_the_client_ends_its_half_first(module_rig, path, version):
    with pair(module_rig, version) as (client, server):
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        assert read_all(server) == b"question"
        server.sendall(b"answer")
        server.close()
        assert read_all(client) == b"answer"


@both_families
def test_the_server_ends_its_half_first(module_rig, path, version):
    with pair(module_rig, version) as (client, server):
        server.sendall(b"greeting")
        server.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"greeting"
        client.sendall(b"last words")
        client.close()
        assert read_all(server) == b"last words"


@both_families
def test_the_client_resets(module_rig, path, version):
    with pair(module_rig, version) as (client, server):
        client.sendall(b"x")
        assert server.recv(10) == b"x"
        reset(client)
        wait_reset(server)


@both_families
def test_the_server_resets(module_rig, path, version):
    with pair(module_rig, version) as (client, server):
        client.sendall(b"x")
        assert server.recv(10) == b"x"
        reset(server)
        wait_reset(client)


def write_forever(sock):
    """Where nothing can be read any more, only writing shows what became of the other half."""
    while True:
        sock.sendall(b"still there?")


@both_families
def test_a_reset_comes_through_after_a_half_close(module_rig, path, version):
    with pair(module_rig, version) as (client, server):
        client.shutdown(socket.SHUT_WR)
        assert server.recv(10) == b""
        reset(server)
        wait_reset(client)
    with pair(module_rig, version) as (client, server):
        server.shutdown(socket.SHUT_WR)
        assert client.recv(10) == b""
        reset(client)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            write_forever(server)


@both_families
def test_the_server_speaks_first(module_rig, path, version):
    with connect(module_rig.clients[0], module_rig.destination(1, version), 2004) as sock:
        assert sock.recv(100) == b"220 ready\r\n"
        sock.sendall(b"QUIT")
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b"QUIT"


@both_families
def test_what_was_said_before_the_connection_was_complete_arrives(module_rig, path, version):
    """The client's bytes and its FIN may be here before the server has been reached."""
    for _ in range(20):
        data = b"early"
        assert talk(module_rig.clients[0], module_rig.destination(1, version), 7, data) == data


@both_families
def test_a_multipath_client_falls_back(module_rig, path, version):
    """MPTCP cannot be relayed transparently: the client has to go on with plain TCP."""
    address = module_rig.destination(1, version)
    try:
        sock = module_rig.clients[0].socket(family_of(address), proto=IPPROTO_MPTCP)
    except OSError as error:
        pytest.skip(f"no MPTCP here: {error.strerror}")
    with sock:
        sock.settimeout(5)
        sock.connect((address, 7))
        sock.sendall(b"one path")
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b"one path"


@both_families
def test_a_closed_port(module_rig, gateway, path, version):
    """The kernel passes the refusal on; the relay has accepted already, so it resets."""
    address = module_rig.destination(1, version)
    if path == "relay":
        before = gateway.counter("error:dial-refused")
        assert_resets(module_rig.clients[0], address, 4999)
        gateway.wait_counter("error:dial-refused", lambda value: value > before)
        return
    with pytest.raises(ConnectionRefusedError):
        connect(module_rig.clients[0], address, 4999)


@both_families
def test_the_server_sees_the_clients_address_only_in_the_kernels_path(module_rig, path, version):
    wan = {4: "203.0.113.1", 6: "2001:db8:113::1"}[version]
    client = module_rig.clients[0]
    address = module_rig.destination(1, version)
    request = b"GET /peer HTTP/1.0\r\n\r\n"
    host = talk(client, address, 80, request).rpartition(b"\r\n\r\n")[2].split()[0].decode()
    assert host == (client.address(version) if path == "kernel" else wan)


@both_families
def test_an_unreachable_server_resets_the_client(gateway, version):
    gateway.reload(PATHS["relay"])
    rig = gateway.rig
    address = rig.destination(77, version)
    before = gateway.counter("error:dial-unreachable")
    rig.gateway.ip(f"route add unreachable {address}")
    try:
        assert_resets(rig.clients[0], address, PORT)
    finally:
        rig.gateway.ip(f"route del unreachable {address}")
    gateway.wait_counter("error:dial-unreachable", lambda value: value > before)


@both_families
def test_a_server_that_never_answers_is_given_up(gateway, version):
    gateway.reload(PATHS["relay"])
    rig = gateway.rig
    address = rig.destination(78, version)
    before = gateway.counter("error:dial-timeout")
    rig.internet.blackhole(address)
    try:
        assert_resets(rig.clients[0], address, PORT, timeout=15)
    finally:
        rig.internet.end_blackholes()
    gateway.wait_counter("error:dial-timeout", lambda value: value > before)


def test_an_idle_flow_ends_and_a_busy_one_lives(gateway):
    gateway.reload({**PATHS["relay"], "gateway": {"verdict-cache": False, "tcp-idle-timeout": 10}})
    rig = gateway.rig
    before = gateway.counter("error:idle-timeout")
    with pair(rig, 4) as (idle, idle_server), pair(rig, 6) as (busy, server):
        idle.setblocking(False)
        while not select.select([idle], [], [], 1.0)[0]:
            busy.sendall(b"x")
            assert server.recv(10) == b"x"
        idle.setblocking(True)
        wait_reset(idle)
        wait_reset(idle_server)
        server.sendall(b"still here")
        assert busy.recv(20) == b"still here"
    gateway.wait_counter("error:idle-timeout", lambda value: value == before + 1)


@both_families
def test_reject_resets_and_the_server_hears_nothing(gateway, version):
    rig = gateway.rig
    gateway.reload({"rules": [f"DST-PORT,{PORT},REJECT", "MATCH,DIRECT"]})
    with listen(rig.internet, rig.destination(9, version)) as listener:
        listener.settimeout(0)
        for _ in range(3):
            assert_resets(rig.clients[0], rig.destination(9, version), PORT)
        with pytest.raises(BlockingIOError):
            listener.accept()


@both_families
def test_reject_drop_is_silent_and_then_the_kernels(gateway, version):
    """The first is accepted, since nobody had decided yet; later ones get no answer at all."""
    rig = gateway.rig
    gateway.reload({"rules": [f"DST-PORT,{PORT},REJECT-DROP", "MATCH,DIRECT"]})
    address = rig.destination(9, version)
    before = gateway.routes()
    with listen(rig.internet, address) as listener:
        listener.settimeout(0)
        with connect(rig.clients[0], address, PORT) as first:
            first.sendall(b"hello?")
            first.settimeout(0.5)
            with pytest.raises(TimeoutError):
                first.recv(10)
            with pytest.raises(TimeoutError):
                connect(rig.clients[0], address, PORT, timeout=0.5)
        with pytest.raises(BlockingIOError):
            listener.accept()
    counts = gateway.since(before)
    assert counts.relay.flows == 1
    assert counts.drop.flows >= 1
    assert counts.kernel.packets == 0


def test_a_silent_flow_that_ends_is_not_forwarded(gateway):
    """Neither a client that gives up nor one that is let go may be heard by the server."""
    rig = gateway.rig
    rule = f"DST-PORT,{PORT},REJECT-DROP"
    gateway.reload({"rules": [rule], "gateway": {"verdict-cache": False}})
    address = rig.destination(9)
    before = gateway.routes()
    with ExitStack() as stack:
        # One more than the relay holds.
        held = [stack.enter_context(connect(rig.clients[0], address, PORT)) for _ in range(1025)]
        wait_reset(held[0])
        held[1].sendall(b"still held")
    gateway.wait_counter("tcp-live", lambda value: value == 0)
    time.sleep(0.5)  # for what a client would send again
    counts = gateway.since(before)
    assert counts.relay.flows >= 1025
    assert counts.kernel.packets == 0
