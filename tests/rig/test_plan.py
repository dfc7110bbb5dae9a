"""The commands a topology turns into."""

from __future__ import annotations

import ipaddress
import itertools

import pytest

from mihomo_tproxy.errors import RigError
from mihomo_tproxy.rig.plan import InterfacePlan, LinkPlan, make_plan
from mihomo_tproxy.rig.topology import MAX_CLIENTS, LanMode, Topology, WanProfile


def test_routed_clients_have_subnets_of_their_own():
    plan = make_plan(Topology(clients=2))
    assert plan.lan_interfaces == ["lan0", "lan1"]
    assert plan.nodes["client1"].address == {4: "192.168.78.10", 6: "fd78::10"}
    assert plan.nodes["gateway"].interfaces["lan1"].addresses == ["192.168.78.1/24", "fd78::1/64"]
    assert plan.nodes["client1"].interfaces["eth0"].routes == [
        "default via 192.168.78.1",
        "default via fd78::1",
    ]


@pytest.mark.parametrize("mode", LanMode)
def test_no_two_nodes_share_an_address(mode):
    plan = make_plan(Topology(clients=MAX_CLIENTS, lan=mode))
    addresses = [
        ipaddress.ip_interface(address)
        for node in plan.nodes.values()
        for interface in node.interfaces.values()
        for address in interface.addresses
    ]
    assert len(addresses) == len({address.ip for address in addresses})
    assert len(addresses) >= 2 * (MAX_CLIENTS + 3)


def test_every_client_is_in_the_subnet_of_its_gateway():
    for mode in LanMode:
        plan = make_plan(Topology(clients=3, lan=mode))
        gateway = plan.nodes["gateway"].interfaces
        networks = [
            ipaddress.ip_interface(address).network
            for name in plan.lan_interfaces
            for address in gateway[name].addresses
        ]
        for index, version in itertools.product(range(3), (4, 6)):
            address = ipaddress.ip_address(plan.nodes[f"client{index}"].address[version])
            assert sum(address in network for network in networks) == 1


def test_a_bridge_lives_in_the_gateway_or_in_the_switch():
    bridged = make_plan(Topology(lan=LanMode.BRIDGED)).nodes
    assert bridged["gateway"].interfaces["lan0"].master == "br-lan"
    assert bridged["gateway"].interfaces["br-lan"].create.endswith("type bridge")
    switched = make_plan(Topology(lan=LanMode.SWITCHED)).nodes
    assert switched["switch"].interfaces["port1"].master == "br0"
    assert switched["gateway"].interfaces["lan0"].addresses == ["192.168.77.1/24", "fd77::1/64"]


def test_bridges_come_before_their_ports():
    for mode in (LanMode.BRIDGED, LanMode.SWITCHED):
        for node in make_plan(Topology(lan=mode)).nodes.values():
            seen = set()
            for interface in node.interfaces.values():
                assert interface.master is None or interface.master in seen
                seen.add(interface.name)


def test_a_vlan_moves_the_addresses_to_the_tagged_interface():
    plan = make_plan(Topology(clients=1, vlan=5))
    client = plan.nodes["client0"].interfaces
    assert client["eth0"].addresses == []
    assert client["eth0.5"].parent == "eth0"
    assert client["eth0.5"].addresses == ["192.168.77.10/24", "fd77::10/64"]
    assert plan.lan_interfaces == ["lan0.5"]
    assert plan.nodes["gateway"].interfaces["lan0.5"].addresses == ["192.168.77.1/24", "fd77::1/64"]


def test_headerless_links_and_a_shaped_wan_are_lines():
    plan = make_plan(Topology(clients=1, l3=True, wan=WanProfile(delay_ms=3)))
    assert [link.profile for link in plan.links] == [WanProfile(), WanProfile(delay_ms=3)]
    assert [link.profile for link in make_plan(Topology(clients=1)).links] == [None, None]


def test_nat_leaves_the_internet_without_a_way_back():
    assert make_plan(Topology(nat=True)).nodes["internet"].interfaces["eth0"].routes == []
    assert make_plan(Topology(clients=1)).nodes["internet"].interfaces["eth0"].routes == [
        "192.168.77.0/24 via 203.0.113.1",
        "fd77::/64 via 2001:db8:113::1",
    ]


def test_only_the_gateway_forwards():
    for name, node in make_plan(Topology()).nodes.items():
        assert (node.sysctls.get("net.ipv4.ip_forward") == "1") == (name == "gateway")
        assert ("net.ipv6.conf.all.forwarding" in node.sysctls) == (name == "gateway")


def test_an_interface_comes_up_before_its_addresses_and_routes():
    interface = InterfacePlan("x0", ["192.0.2.1/24", "2001:db8::1/64"], ["default via 192.0.2.2"])
    assert interface.commands() == [
        "link set x0 up",
        "addr replace 192.0.2.1/24 dev x0",
        "addr replace 2001:db8::1/64 dev x0 nodad",
        "route replace default via 192.0.2.2 dev x0",
    ]


def test_a_pair_has_distinct_indexes_and_lasting_macs():
    link = LinkPlan(("a", "x0"), ("b", "y0"))
    words = link.veth(1, {"a": "n-a", "b": "n-b"})
    assert words == (
        "link add x0 index 103 address 02:6d:74:00:01:01 netns n-a type veth "
        "peer name y0 index 104 address 02:6d:74:00:01:02 netns n-b"
    )


def test_a_wrong_topology_has_no_plan():
    with pytest.raises(RigError, match="clients: 0"):
        make_plan(Topology(clients=0))
