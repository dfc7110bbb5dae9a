"""`gateway.local`: the gateway's own traffic meets the rules, and nobody else's does by mistake."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from support.gateway import Gateway
from support.tcp import ECHO, connects, says
from support.udp import VERSIONS, echoes, open_socket

if TYPE_CHECKING:
    from mihomo_tproxy.rig import Node

SO_MARK = 36
LOCAL = {"local": True, "verdict-cache": False}
by_version = pytest.mark.parametrize("version", VERSIONS)


class Inside:
    """Socket calls by a thread that is in the node, as its own processes make them."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def connects(self, address: str, port: int = ECHO, mark: int = 0) -> bool:
        """Whether a TCP connection to the echo server works; False when it is refused or reset."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self.node.socket(family) as sock:
            sock.settimeout(5)
            if mark:
                sock.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
            try:
                sock.connect((address, port))
                return says(sock)
            except ConnectionError:
                return False

    def udp(self, version: int, address: str, mark: int = 0) -> bool:
        """Whether a connected UDP socket is echoed; False when it is refused."""
        with open_socket(self.node, version) as sock:
            if mark:
                sock.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
            sock.connect((address, ECHO))
            try:
                sock.send(b"ping")
                return sock.recv(100) == b"ping"
            except ConnectionRefusedError:
                return False


@pytest.fixture(scope="module")
def gateway(module_rig):
    """One daemon that steers its own host too."""
    assert module_rig.servers.process.running
    with Gateway(module_rig, {"rules": ["MATCH,DIRECT"], "gateway": LOCAL}) as gateway:
        yield gateway


@by_version
def test_tcp_and_udp_of_the_gateway_are_relayed(gateway, version):
    rig = gateway.rig
    inside = Inside(rig.gateway)
    address = rig.destination(1, version)
    gateway.reload({"rules": ["MATCH,DIRECT"], "gateway": LOCAL})
    opened = {name: gateway.counter(f"opened:{name}:DIRECT") for name in ("tcp", "udp")}
    assert inside.connects(address)
    assert inside.udp(version, address)
    for name, before in opened.items():
        number = gateway.wait_counter(f"opened:{name}:DIRECT", lambda n, b=before: n > b)
        assert number == before + 1  # the daemon's own dial has not come back to it


@by_version
def test_reject_shows(gateway, version):
    rig = gateway.rig
    inside = Inside(rig.gateway)
    address = rig.destination(2, version)
    gateway.reload({"rules": ["MATCH,REJECT"], "gateway": LOCAL})
    assert not inside.connects(address)
    assert not inside.udp(version, address)


@by_version
def test_an_unconnected_socket_is_relayed_from_its_second_datagram_on(gateway, version):
    """The kernel reads a datagram's mark before it asks the program, see bpf/local.c."""
    rig = gateway.rig
    address = rig.destination(3, version)
    gateway.reload({"rules": ["MATCH,DIRECT"], "gateway": LOCAL})
    before = gateway.counter("opened:udp:DIRECT")
    with open_socket(rig.gateway, version) as sock:
        for _ in range(3):
            assert echoes(sock, address)
    gateway.wait_counter("opened:udp:DIRECT", lambda number: number == before + 1)


def test_it_ends_with_a_reload_and_begins_with_a_restart(rig):
    assert rig.servers.process.running
    inside = Inside(rig.gateway)
    steered = {"rules": ["MATCH,REJECT"], "gateway": LOCAL}
    with Gateway(rig, steered) as gateway:
        assert not inside.connects(rig.destination(1))
        gateway.reload({"rules": ["MATCH,REJECT"]})
        assert "only with a restart" not in gateway.output
        assert inside.connects(rig.destination(1))
        assert not connects(rig.clients[0], rig.destination(1))
        gateway.reload(steered)
        assert "only with a restart" in gateway.output
        assert inside.connects(rig.destination(1))
        gateway.stop()
        gateway.start()
        assert not inside.connects(rig.destination(1))


@by_version
def test_direct_stays_with_the_kernel(gateway, version):
    rig = gateway.rig
    inside = Inside(rig.gateway)
    gateway.reload({"rules": ["MATCH,DIRECT"], "gateway": {"local": True}})
    before = [gateway.counter(f"opened:{name}:DIRECT") for name in ("tcp", "udp")]
    address = rig.destination(4, version)
    assert inside.connects(address)
    assert inside.udp(version, address)
    gateway.reload({"rules": ["MATCH,REJECT"], "gateway": LOCAL})
    assert not inside.connects(address)
    assert [gateway.counter(f"opened:{name}:DIRECT") for name in ("tcp", "udp")] == before


@by_version
def test_a_socket_with_a_mark_of_its_own_is_left_alone(gateway, version):
    rig = gateway.rig
    inside = Inside(rig.gateway)
    gateway.reload({"rules": ["MATCH,REJECT"], "gateway": LOCAL})
    address = rig.destination(5, version)
    assert inside.connects(address, mark=0x77)
    assert inside.udp(version, address, mark=0x77)


@by_version
def test_other_namespaces_and_own_addresses_are_left_alone(gateway, version):
    rig = gateway.rig
    gateway.reload({"rules": ["MATCH,REJECT"], "gateway": LOCAL})
    elsewhere = Inside(rig.internet)
    assert elsewhere.connects(rig.destination(6, version))
    assert elsewhere.udp(version, rig.destination(6, version))
    local = {4: "127.0.0.1", 6: "::1"}[version]
    wan = {4: "203.0.113.1", 6: "2001:db8:113::1"}[version]
    for address in (local, wan, rig.gateway.address(version)):
        with (
            open_socket(rig.gateway, version, local=address, port=7070) as service,
            open_socket(rig.gateway, version) as sock,
        ):
            sock.sendto(b"hello", (address, 7070))
            assert service.recv(100) == b"hello"


@by_version
def test_the_gateway_reaches_its_clients(gateway, version):
    rig = gateway.rig
    gateway.reload({"rules": ["MATCH,REJECT"], "gateway": {**LOCAL, "bypass-private": False}})
    address = rig.clients[0].address(version)
    with (
        open_socket(rig.clients[0], version, local=address, port=7071) as service,
        open_socket(rig.gateway, version) as sock,
    ):
        sock.sendto(b"hello", (address, 7071))
        data, sender = service.recvfrom(100)
        assert data == b"hello"
        service.sendto(data, sender)
        assert sock.recv(100) == b"hello"


@by_version
def test_the_lan_is_steered_besides(gateway, version):
    rig = gateway.rig
    gateway.reload({"rules": ["MATCH,DIRECT"], "gateway": LOCAL})
    before = gateway.routes()
    assert connects(rig.clients[0], rig.destination(7, version))
    assert gateway.since(before).relay.flows == 1


def test_a_routing_mark_of_the_users_is_kept(rig):
    assert rig.servers.process.running
    config = {"rules": ["MATCH,DIRECT"], "routing-mark": 6666, "gateway": LOCAL}
    rules = "add rule inet t out meta mark 6666 counter"
    script = (
        "add table inet t\n"
        "add chain inet t out { type filter hook output priority 0; }\n" + rules + "\n"
    )
    rig.gateway.run(["nft", "-f", "-"], stdin=script)
    with Gateway(rig, config) as gateway:
        inside = Inside(rig.gateway)
        for version in VERSIONS:
            assert inside.connects(rig.destination(1, version))
            assert inside.udp(version, rig.destination(1, version))
        gateway.wait_counter("opened:tcp:DIRECT", lambda number: number == 2)
        gateway.wait_counter("opened:udp:DIRECT", lambda number: number == 2)
    counted = rig.gateway.run(["nft", "list", "table", "inet", "t"]).stdout
    assert "packets 0" not in counted
    rig.gateway.run(["nft", "delete", "table", "inet", "t"])
