"""Interfaces and addresses of the gateway come, go and change while it runs."""

from __future__ import annotations

import pytest
from support.gateway import Gateway, wait_until
from support.tcp import connects, times_out
from support.udp import VERSIONS, open_socket

from mihomo_tproxy.rig import host

REJECT = {"rules": ["MATCH,REJECT"]}
by_version = pytest.mark.parametrize("version", VERSIONS)


def wait_for_lan(gateway, *names):
    """Waits until exactly these interfaces are steered."""
    wait_until(lambda: sorted(gateway.status()["lan"]) == sorted(names), f"steering of {names}")
    for family in ("-4", "-6"):
        rules = gateway.node.run(["ip", family, "rule", "show"]).stdout
        assert sorted(names) == sorted(
            line.partition(" iif ")[2].split()[0] for line in rules.splitlines() if "iif" in line
        )


def test_an_interface_vanishes_and_comes_back(rig):
    assert rig.servers.process.running
    one, other = rig.clients
    with Gateway(rig, {**REJECT, "gateway": {"lan": ["lan*"]}}) as gateway:
        wait_for_lan(gateway, "lan0", "lan1")
        for _ in range(2):
            other.ip("link del eth0")
            wait_for_lan(gateway, "lan0")
            assert not connects(one, rig.destination(1))
            rig.replug(1)
            wait_for_lan(gateway, "lan0", "lan1")
            for version in VERSIONS:
                assert not connects(other, rig.destination(1, version))
        gateway.reload({"rules": ["MATCH,DIRECT"], "gateway": {"lan": ["lan*"]}})
        for version in VERSIONS:
            assert connects(other, rig.destination(1, version))
        other.ip("link del eth0")
        wait_for_lan(gateway, "lan0")
        rig.replug(1)
        wait_for_lan(gateway, "lan0", "lan1")


def test_an_interface_that_was_not_there_at_start(rig):
    assert rig.servers.process.running
    client = rig.clients[0]
    gateway_ns, client_ns = rig.gateway.netns, client.netns
    config = {**REJECT, "gateway": {"lan": ["lan0", "dmz*"]}}
    with Gateway(rig, config) as gateway:
        assert connects(rig.clients[1], rig.destination(1))
        wait_for_lan(gateway, "lan0")
        host.run_ip([f"link add dmz0 netns {gateway_ns} type veth peer eth1 netns {client_ns}"])
        wait_for_lan(gateway, "lan0", "dmz0")
        rig.gateway.ip("link set dmz0 up", "addr add 192.168.200.1/24 dev dmz0")
        rig.gateway.ip("addr add fd00:200::1/64 dev dmz0 nodad")
        client.ip("link set eth1 up", "addr add 192.168.200.10/24 dev eth1")
        client.ip("addr add fd00:200::10/64 dev eth1 nodad")
        far = {4: rig.destination(2), 6: rig.destination(2, 6)}
        client.ip(f"route add {far[4]} via 192.168.200.1", f"route add {far[6]} via fd00:200::1")
        for version in VERSIONS:
            before = gateway.routes()
            wait_until(lambda v=version: not connects(client, far[v]), "rejection")
            assert gateway.since(before).relay.flows == 1
        rig.gateway.ip("link del dmz0")
        wait_for_lan(gateway, "lan0")


def answers(rig, version, address):
    """Whether a client reaches a UDP service of the gateway at `address`."""
    with (
        open_socket(rig.gateway, version, port=6161) as service,
        open_socket(rig.clients[0], version) as sock,
    ):
        service.settimeout(0.2)
        sock.sendto(b"hello", (address, 6161))
        try:
            return service.recv(100) == b"hello"
        except TimeoutError:
            return False


@by_version
def test_an_address_of_the_gateway_comes_and_goes(rig, version):
    assert rig.servers.process.running
    client = rig.clients[0]
    address, length = {4: ("198.51.100.200", 32), 6: ("2001:db8:51::200", 128)}[version]
    with Gateway(rig, REJECT) as gateway:
        assert not connects(client, address)
        assert not answers(rig, version, address)
        rig.gateway.add_address("wan0", f"{address}/{length}")
        wait_until(lambda: answers(rig, version, address), "the new address")
        rig.gateway.delete_address("wan0", f"{address}/{length}")
        wait_until(lambda: not answers(rig, version, address), "the end of the address")
        before = gateway.routes()
        assert not connects(client, address)
        assert gateway.since(before).relay.flows == 1


def test_the_lan_gets_another_address(rig):
    assert rig.servers.process.running
    client = rig.clients[0]
    with Gateway(rig, REJECT) as gateway:
        rig.gateway.delete_address("lan0", "192.168.77.1/24")
        rig.gateway.add_address("lan0", "192.168.99.1/24")
        client.ip("addr del 192.168.77.10/24 dev eth0", "addr add 192.168.99.5/24 dev eth0")
        client.ip("route replace default via 192.168.99.1")
        wait_until(lambda: answers(rig, 4, "192.168.99.1"), "the new address")
        before = gateway.routes()
        assert not connects(client, rig.destination(1))
        assert gateway.since(before).relay.flows == 1


def test_ipv6_comes_later(rig_factory):
    rig = rig_factory(clients=1)
    assert rig.servers.process.running
    client = rig.clients[0]
    routes = rig.gateway.run("ip -6 route show default").stdout
    for node, interface in ((rig.gateway, "lan0"), (rig.gateway, "wan0"), (client, "eth0")):
        node.run(f"ip -6 route flush default dev {interface}")
        node.run(f"ip -6 addr flush dev {interface} scope global")
    with Gateway(rig, REJECT) as gateway:
        assert not connects(client, rig.destination(1))
        rig.gateway.configure()
        client.configure()
        before = gateway.routes()
        assert not connects(client, rig.destination(1, 6))
        assert gateway.since(before).relay.flows == 1
        assert rig.gateway.run("ip -6 route show default").stdout == routes
        wait_until(lambda: answers(rig, 6, rig.gateway.address(6)), "the new address")
        rig.gateway.run("ip -6 route flush default")  # as before the start


def test_by_default_whatever_is_up_and_not_the_way_out(rig):
    assert rig.servers.process.running
    with Gateway(rig, {**REJECT, "gateway": {"lan": []}}) as gateway:
        wait_for_lan(gateway, "lan0", "lan1")
        rig.gateway.link_down("lan1")
        wait_for_lan(gateway, "lan0")
        rig.gateway.link_up("lan1")
        wait_for_lan(gateway, "lan0", "lan1")
        assert not connects(rig.clients[1], rig.destination(1))


def test_no_lan_at_all_is_a_warning(rig):
    assert rig.servers.process.running
    with Gateway(rig, {**REJECT, "gateway": {"lan": ["none*"]}}) as gateway:
        assert "no LAN interface is up" in gateway.output
        assert connects(rig.clients[0], rig.destination(1))
        assert not times_out(rig.clients[0], rig.destination(1))
