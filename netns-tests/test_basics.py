"""What a gateway must leave alone, and whose traffic is steered at all.

Everything that is steered here meets REJECT, so what is steered by mistake shows.
"""

from __future__ import annotations

import socket
import struct
from contextlib import contextmanager

import pytest
from support.gateway import ROOT, Gateway
from support.traffic import assert_resets, family_of, listen, talk

from mihomo_tproxy.rig.plan import mac
from mihomo_tproxy.rig.serving import Servers

REJECT_ALL = {"rules": ["MATCH,REJECT"]}
PRIVATE = {4: "10.9.9.9", 6: "fd99::9"}
WAN = {4: "203.0.113.1", 6: "2001:db8:113::1"}
both_families = pytest.mark.parametrize("version", [4, 6])


@pytest.fixture(scope="module")
def gateway(module_rig):
    rig = module_rig
    assert rig.servers.process.running
    for version, size in ((4, 32), (6, 128)):
        rig.internet.add_address("lo", f"{PRIVATE[version]}/{size}")
    Servers(rig.gateway, ROOT)  # the gateway's own services
    with Gateway(rig, REJECT_ALL) as gateway:
        yield gateway


def with_gateway_block(**block):
    return {**REJECT_ALL, "gateway": block}


def ask_udp(node, address, port, data, *, timeout=5.0):
    """The answer to one datagram."""
    with node.socket(family_of(address), socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout)
        sock.connect((address, port))
        sock.send(data)
        return sock.recv(65_536)


def assert_passes(gateway, node, address):
    """TCP and UDP reach the echo service at an address, and neither is steered."""
    before = gateway.routes()
    assert talk(node, address, 7, b"tcp") == b"tcp"
    assert ask_udp(node, address, 7, b"udp") == b"udp"
    counts = gateway.since(before)
    assert counts.relay.packets == counts.down_relay.packets == counts.drop.packets == 0
    return counts


def assert_is_steered(node, address):
    """TCP and UDP meet the rule, which is REJECT."""
    assert_resets(node, address, 7)
    with pytest.raises(ConnectionRefusedError):
        ask_udp(node, address, 7, b"udp")


@both_families
def test_the_gateway_is_reached_at_every_address(gateway, version):
    rig = gateway.rig
    client = rig.clients[0]
    gateway.reload(REJECT_ALL)
    lan, other_lan = (rig.plan.nodes["gateway"].interfaces[name] for name in ("lan0", "lan1"))
    addresses = [WAN[version]] + [
        each.addresses[version == 6].split("/")[0] for each in (lan, other_lan)
    ]
    for address in addresses:
        counts = assert_passes(gateway, client, address)
        assert counts.own.packets >= 5
        assert counts.down_own.packets >= 4
    assert_is_steered(client, rig.destination(1, version))


def test_the_gateway_is_reached_at_its_link_local_address(gateway):
    gateway.reload(REJECT_ALL)
    client = gateway.rig.clients[0]
    listing = gateway.node.run(["ip", "-6", "addr", "show", "lan0", "scope", "link"]).stdout
    address = listing.split("inet6 ")[1].split("/")[0]
    with client.enter():
        scope = socket.if_nametoindex("eth0")
    with client.socket(socket.AF_INET6) as sock:
        sock.settimeout(5)
        sock.connect((address, 7, 0, scope))
        sock.sendall(b"local")
        assert sock.recv(10) == b"local"


@both_families
def test_clients_reach_each_other(gateway, version):
    """Another LAN behind this gateway is private and attached: forwarded, not steered."""
    gateway.reload(with_gateway_block(**{"bypass-private": False}))
    rig = gateway.rig
    one, other = rig.clients
    with listen(other, other.address(version)) as listener:
        sock = one.connect(other.address(version), 5000)
        accepted, peer = listener.accept()
        with sock, accepted:
            assert peer[0] == one.address(version)


@both_families
def test_private_ranges_pass_unless_asked_for(gateway, version):
    client = gateway.rig.clients[0]
    gateway.reload(REJECT_ALL)
    counts = assert_passes(gateway, client, PRIVATE[version])
    assert counts.bypass.packets >= 5
    gateway.reload(with_gateway_block(**{"bypass-private": False}))
    assert_is_steered(client, PRIVATE[version])


@both_families
def test_the_bypass_list(gateway, version):
    rig = gateway.rig
    client = rig.clients[0]
    listed, covered, other = (rig.destination(number, version) for number in (50, 61, 70))
    net = {4: "198.51.100.60/30", 6: "2001:db8:51::3c/126"}[version]
    gateway.reload(with_gateway_block(bypass=[listed, net]))
    for address in (listed, {4: covered, 6: "2001:db8:51::3d"}[version]):
        counts = assert_passes(gateway, client, address)
        assert counts.bypass.flows == 2
    assert_is_steered(client, other)
    gateway.reload(REJECT_ALL)
    assert_resets(client, listed, 7)


@both_families
@pytest.mark.parametrize("by", ["address", "mac"])
@pytest.mark.parametrize("kind", ["exclude", "include"])
def test_clients_are_chosen(gateway, version, by, kind):
    rig = gateway.rig
    one, other = rig.clients
    listed = one.address(version) if by == "address" else mac(0, 1)
    gateway.reload(with_gateway_block(clients={kind: [listed]}))
    alone, steered = (one, other) if kind == "exclude" else (other, one)
    counts = assert_passes(gateway, alone, rig.destination(1, version))
    assert counts.bypass.flows == 2
    assert_is_steered(steered, rig.destination(1, version))


@both_families
def test_an_excluded_client_within_an_included_range(gateway, version):
    rig = gateway.rig
    one, other = rig.clients
    everyone = {4: "192.168.0.0/16", 6: "fd00::/8"}[version]
    gateway.reload(
        with_gateway_block(clients={"include": [everyone], "exclude": [one.address(version)]})
    )
    assert_passes(gateway, one, rig.destination(1, version))
    assert_is_steered(other, rig.destination(1, version))


@contextmanager
def udp_server(node, family, port):
    """A datagram socket on the wildcard address, as a DHCP server has."""
    with node.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.settimeout(5)
        sock.bind(("", port))
        yield sock


def test_a_broadcast_from_a_client_without_an_address(gateway):
    """As DHCPDISCOVER: 0.0.0.0 port 68 to 255.255.255.255 port 67, and the broadcast answer."""
    gateway.reload(REJECT_ALL)
    rig = gateway.rig
    client = rig.clients[1]
    client.delete_address("eth0", f"{client.address(4)}/24")
    try:
        with (
            udp_server(rig.gateway, socket.AF_INET, 67) as server,
            udp_server(client, socket.AF_INET, 68) as asking,
        ):
            for sock, interface in ((server, b"lan1"), (asking, b"eth0")):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface)
            asking.sendto(b"discover", ("255.255.255.255", 67))
            data, peer = server.recvfrom(100)
            assert (data, peer) == (b"discover", ("0.0.0.0", 68))
            server.sendto(b"offer", ("255.255.255.255", 68))
            assert asking.recv(100) == b"offer"
    finally:
        client.configure("eth0")


def test_a_broadcast_to_the_subnet(gateway):
    gateway.reload(REJECT_ALL)
    client = gateway.rig.clients[0]
    with (
        udp_server(gateway.node, socket.AF_INET, 1900) as server,
        client.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking,
    ):
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        asking.sendto(b"anyone?", ("192.168.77.255", 1900))
        data, peer = server.recvfrom(100)
        assert data == b"anyone?"
        assert peer[0] == client.address(4)


@both_families
def test_multicast(gateway, version):
    gateway.reload(REJECT_ALL)
    client = gateway.rig.clients[0]
    group = {4: "239.255.0.7", 6: "ff05::7"}[version]
    family = family_of(group)
    with gateway.node.enter():
        lan = socket.if_nametoindex("lan0")
    with client.enter():
        eth = socket.if_nametoindex("eth0")
    packed = socket.inet_pton(family, group)
    with (
        udp_server(gateway.node, family, 5353) as server,
        client.socket(family, socket.SOCK_DGRAM) as asking,
    ):
        if version == 4:
            member = packed + struct.pack("4si", bytes(4), lan)
            server.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
            towards = struct.pack("4s4si", bytes(4), bytes(4), eth)
            asking.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, towards)
        else:
            member = packed + struct.pack("i", lan)
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, member)
            asking.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, eth)
        asking.sendto(b"who has?", (group, 5353))
        data, peer = server.recvfrom(100)
        assert data == b"who has?"
        assert peer[0] == client.address(version)


@both_families
def test_icmp_echo_passes(gateway, version):
    gateway.reload(REJECT_ALL)
    rig = gateway.rig
    before = gateway.routes()
    for address in (rig.destination(1, version), gateway.node.address(version), WAN[version]):
        rig.clients[0].run(["ping", f"-{version}", "-c1", "-W5", address])
    assert gateway.since(before).other.packets >= 3
    assert gateway.since(before).relay.packets == 0


@both_families
def test_a_hop_limit_that_ends_here_is_told(gateway, version):
    """As traceroute sees it: this gateway is a hop for what the kernel forwards."""
    gateway.reload({"rules": ["MATCH,DIRECT"]})
    rig = gateway.rig
    argv = ["ping", f"-{version}", "-c1", "-W5", "-t1", rig.destination(1, version)]
    said = rig.clients[0].run(argv, check=False).stdout
    assert gateway.node.address(version) in said
    assert "exceeded" in said


@both_families
def test_what_comes_from_outside_reaches_a_client(gateway, version):
    """A server in the LAN: its answers belong to a flow that the relay does not hold."""
    gateway.reload(REJECT_ALL)
    rig = gateway.rig
    client = rig.clients[0]
    with listen(client, client.address(version)) as listener:
        sock = rig.internet.connect(client.address(version), 5000)
        accepted, _ = listener.accept()
        with sock, accepted:
            accepted.sendall(b"served")
            assert sock.recv(10) == b"served"
