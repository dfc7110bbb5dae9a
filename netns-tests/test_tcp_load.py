"""Many connections: one after the other from few ports, many at once, and idle ones."""

from __future__ import annotations

import resource
from contextlib import ExitStack

import pytest
from support.gateway import Gateway
from support.traffic import connect, many

CONNECTIONS = 6_000
AT_ONCE = 50
ROUNDS = 3
PORTS = "20000 21999"
"""Fewer than there are connections, so that each comes again while the gateway's or the server's
socket of its last connection is in TIME_WAIT."""
IDLE_FLOWS = 10_000
REQUEST = b"GET /bytes/100 HTTP/1.0\r\n\r\n"

PATHS = {
    "kernel": {"rules": ["MATCH,DIRECT"]},
    "relay": {"rules": ["MATCH,DIRECT"], "gateway": {"verdict-cache": False}},
}


@pytest.fixture(scope="module")
def gateway(module_rig):
    assert module_rig.servers.process.running
    with Gateway(module_rig, PATHS["kernel"]) as gateway:
        yield gateway


@pytest.fixture
def few_ports(module_rig):
    client = module_rig.clients[0]
    before = client.sysctl("net.ipv4.ip_local_port_range")
    client.sysctl("net.ipv4.ip_local_port_range", PORTS)
    yield client
    client.sysctl("net.ipv4.ip_local_port_range", before)


@pytest.fixture
def cookies(module_rig):
    before = module_rig.gateway.sysctl("net.ipv4.tcp_syncookies")
    module_rig.gateway.sysctl("net.ipv4.tcp_syncookies", 2)
    yield
    module_rig.gateway.sysctl("net.ipv4.tcp_syncookies", before)


@pytest.fixture(scope="module")
def answer(module_rig):
    """What the server says to REQUEST, asked without a gateway in between."""
    node = module_rig.gateway
    with connect(node, module_rig.destination(1), 80) as sock:
        sock.sendall(REQUEST)
        return sock.makefile("rb").read()


def go(gateway, version, answer, total, at_once=AT_ONCE, *, client=0):
    """So many requests; the counters of the routes meanwhile."""
    rig = gateway.rig
    before = gateway.routes()
    outcomes = many(
        rig.clients[client], rig.destination(1, version), 80, REQUEST, answer, total, at_once
    )
    assert outcomes == {"ok": total}
    return gateway.since(before)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("version", [4, 6])
def test_no_connection_fails_while_ports_come_again(gateway, few_ports, answer, path, version):
    gateway.reload(PATHS[path])
    rounds = ROUNDS if (version, path) == (4, "relay") else 1
    for _ in range(rounds):
        counts = go(gateway, version, answer, CONNECTIONS)
        # At least: a SYN may come twice.
        assert getattr(counts, path).flows >= CONNECTIONS
        other = {"kernel": "relay", "relay": "kernel"}[path]
        assert getattr(counts, other).packets == 0
    gateway.wait_counter("tcp-live", lambda value: value == 0)


@pytest.mark.parametrize("version", [4, 6])
def test_verdicts_that_change_meanwhile(gateway, few_ports, answer, version):
    """Flows that are relayed, then learnt, over ports that wait here from the flows before."""
    gateway.reload(PATHS["relay"])
    go(gateway, version, answer, 3_000)
    gateway.reload({"rules": ["DST-PORT,1,REJECT", "MATCH,DIRECT"]})
    counts = go(gateway, version, answer, 3_000)
    assert counts.relay.flows >= 1
    assert counts.relay.flows + counts.kernel.flows >= 3_000


@pytest.mark.parametrize("version", [4, 6])
def test_syn_cookies(gateway, cookies, few_ports, answer, version):
    gateway.reload(PATHS["relay"])
    counts = go(gateway, version, answer, 1_000)
    assert counts.relay.flows >= 1_000
    gateway.reload({"rules": ["DST-PORT,1,REJECT", "MATCH,DIRECT"]})
    go(gateway, version, answer, 1_000)


def test_500_at_once(gateway, answer):
    gateway.reload(PATHS["relay"])
    counts = go(gateway, 4, answer, 2_000, at_once=500)
    assert counts.relay.flows >= 2_000


def test_a_flow_limit_refuses_what_is_beyond(gateway):
    gateway.reload({**PATHS["relay"], "gateway": {"verdict-cache": False, "max-flows": 10}})
    rig = gateway.rig
    with ExitStack() as stack:
        address = rig.destination(1)
        socks = [stack.enter_context(connect(rig.clients[0], address, 7)) for _ in range(10)]
        for sock in socks:
            sock.sendall(b"x")
            assert sock.recv(10) == b"x"
        with pytest.raises(ConnectionResetError), connect(rig.clients[0], address, 7) as sock:
            sock.recv(10)
    gateway.wait_counter("error:flow-limit", lambda value: value == 1)
    gateway.wait_counter("tcp-live", lambda value: value == 0)


def test_10000_idle_flows_each_still_carry_a_byte(rig):
    """With a soft limit of descriptors that is far too low, and the flows spread over two workers.

    Two, since a container may have a hard limit of 20,000 descriptors.
    """
    echo = rig.servers.port("echo")
    address, node = rig.destination(1), rig.clients[0]
    config = {**PATHS["relay"], "gateway": {"verdict-cache": False, "workers": 2}}
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    gateway = Gateway(rig, config)
    with ExitStack() as stack:
        gateway.start(prefix=["prlimit", f"--nofile=1024:{hard}"])
        stack.push(gateway.__exit__)
        idle = gateway.memory_kib()
        clients = [stack.enter_context(connect(node, address, echo)) for _ in range(IDLE_FLOWS)]
        gateway.wait_counter("tcp-live", lambda value: value == IDLE_FLOWS)
        assert all(
            counters["tcp-live"] > IDLE_FLOWS / 4
            for counters in gateway.status()["workers"].values()
        )
        per_flow = (gateway.memory_kib() - idle) * 1024 / IDLE_FLOWS
        assert per_flow < 4096
        for client in clients:
            client.sendall(b"?")
        for client in clients:
            assert client.recv(2) == b"?"
        for client in clients:
            client.close()
        gateway.wait_counter("tcp-live", lambda value: value == 0)
