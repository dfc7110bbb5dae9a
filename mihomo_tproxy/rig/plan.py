"""From a topology to the commands that build it: pure, so it is tested without privileges.

    client0 eth0 ── lan0 ┐                        ┌ 203.0.113.2, 2001:db8:113::2   (link)
                         ├ gateway wan0 ── eth0 internet
    client1 eth0 ── lan1 ┘                        └ 198.51.100.0/24, 2001:db8:51::/64 (all of it)

| link | IPv4 | IPv6 | gateway | others |
|---|---|---|---|---|
| LAN, client i routed | 192.168.(77+i).0/24 | fd(77+i)::/64 | .1, ::1 | .10, ::10 |
| LAN, bridged or switched | 192.168.77.0/24 | fd77::/64 | .1, ::1 | .(10+i), ::(10+i) |
| WAN | 203.0.113.0/24 | 2001:db8:113::/64 | .1, ::1 | .2, ::2 |

The internet owns every address of 198.51.100.0/24 and 2001:db8:51::/64 by a local route on its
loopback, so a test takes as many destinations as it wants without adding any. Documentation
ranges stand for public ones: a gateway steers them, and leaves private ranges alone.

Invariants: names of interfaces are the same in every rig; only namespaces carry the rig's prefix.
An interface plan holds what is needed to bring that interface back after it was down or deleted.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mihomo_tproxy.rig.topology import LanMode, Topology, WanProfile

WAN_GATEWAY = {4: "203.0.113.1", 6: "2001:db8:113::1"}
WAN_INTERNET = {4: "203.0.113.2", 6: "2001:db8:113::2"}
INTERNET_PREFIX = {4: "198.51.100.0/24", 6: "2001:db8:51::/64"}

GATEWAY = "gateway"
INTERNET = "internet"
SWITCH = "switch"

_FIRST_INDEX = 100
"""Of interfaces; beyond what the kernel hands out by itself in a namespace this small."""


@dataclass(slots=True)
class InterfacePlan:
    """One interface as it must be when it is up."""

    name: str
    addresses: list[str] = field(default_factory=list)
    """With prefix length."""
    routes: list[str] = field(default_factory=list)
    """Words for `ip route replace`, without the device."""
    master: str | None = None
    """The bridge this is a port of."""
    create: str | None = None
    """Words for `ip link add`, for interfaces that belong to one node alone."""
    parent: str | None = None
    """The interface this is a VLAN of."""

    def commands(self) -> list[str]:
        """Lines for `ip -batch` that bring the existing interface to this state."""
        lines = []
        if self.master is not None:
            lines.append(f"link set {self.name} master {self.master}")
        lines.append(f"link set {self.name} up")
        for address in self.addresses:
            nodad = " nodad" if ":" in address else ""
            lines.append(f"addr replace {address} dev {self.name}{nodad}")
        lines += [f"route replace {route} dev {self.name}" for route in self.routes]
        return lines


@dataclass(slots=True)
class NodePlan:
    """One namespace: its interfaces in the order they come up, and its sysctls."""

    name: str
    interfaces: dict[str, InterfacePlan] = field(default_factory=dict)
    sysctls: dict[str, str] = field(default_factory=dict)
    address: dict[int, str] = field(default_factory=dict)
    """The address others reach this node by, per IP version; empty for the switch."""


@dataclass(slots=True, frozen=True)
class LinkPlan:
    """A link between two nodes."""

    left: tuple[str, str]
    """Node and interface nearer to the clients."""
    right: tuple[str, str]
    profile: WanProfile | None = None
    """Not None: a user-space line between TUN devices; None: a veth pair."""
    vlan: int | None = None

    @property
    def ends(self) -> tuple[tuple[str, str], tuple[str, str]]:
        """Both ends, the left one first."""
        return self.left, self.right

    def veth(self, number: int, namespaces: dict[str, str]) -> str:
        """Words for `ip` that create the pair; `number` makes its MAC addresses and its indexes.

        A link that was deleted and comes back keeps its addresses, as a cable does, so nobody's
        neighbour table is wrong afterwards. The indexes of a pair differ, because the kernel takes
        its time (a second) to tell a bridge of the carrier when they are equal.
        """
        ends = []
        for end, (node, name) in enumerate((self.left, self.right), start=1):
            index = _FIRST_INDEX + 2 * number + end
            where = f"netns {namespaces[node]}"
            ends.append(f"{name} index {index} address {mac(number, end)} {where}")
        return f"link add {ends[0]} type veth peer name {ends[1]}"


@dataclass(slots=True)
class Plan:
    """Everything to build."""

    nodes: dict[str, NodePlan]
    links: list[LinkPlan]
    lan_interfaces: list[str]
    """The gateway's interfaces a steering program belongs on."""


def mac(link: int, end: int) -> str:
    """A locally administered MAC address; rigs share no network, so it need not be unique."""
    return f"02:6d:74:00:{link:02x}:{end:02x}"


def make_plan(topology: Topology) -> Plan:
    """The nodes and links of a topology. Raises RigError when it cannot be built."""
    topology.check()
    gateway = _node(GATEWAY, forwarding=True)
    internet = _node(INTERNET)
    plan = Plan({GATEWAY: gateway}, [], [])
    if topology.lan is LanMode.ROUTED:
        _routed_lan(topology, plan)
    else:
        _shared_lan(topology, plan)
    plan.nodes[INTERNET] = internet
    _wan(topology, plan)
    return plan


def _routed_lan(topology: Topology, plan: Plan) -> None:
    """One link and one subnet per client."""
    gateway = plan.nodes[GATEWAY]
    for index in range(topology.clients):
        net4, net6 = f"192.168.{77 + index}", f"fd{77 + index}:"
        client = _client(plan, index, net4, net6, host=10)
        ends = (f"lan{index}", "eth0")
        plan.links.append(
            LinkPlan(
                (client.name, "eth0"),
                (GATEWAY, f"lan{index}"),
                WanProfile() if topology.l3 else None,
                topology.vlan,
            )
        )
        if topology.vlan is not None:
            for node, end in zip((gateway, client), ends, strict=True):
                inner = node.interfaces.get(end, InterfacePlan(end))
                node.interfaces[end] = InterfacePlan(end)
                inner.name, inner.parent = f"{end}.{topology.vlan}", end
                node.interfaces[inner.name] = inner
            ends = (f"{ends[0]}.{topology.vlan}", f"{ends[1]}.{topology.vlan}")
        lan = gateway.interfaces.setdefault(ends[0], InterfacePlan(ends[0]))
        lan.addresses += [f"{net4}.1/24", f"{net6}:1/64"]
        plan.lan_interfaces.append(ends[0])
        if index == 0:
            gateway.address = {4: f"{net4}.1", 6: f"{net6}:1"}


def _shared_lan(topology: Topology, plan: Plan) -> None:
    """One subnet for all clients: a bridge in the gateway, or one in a switch of its own."""
    gateway = plan.nodes[GATEWAY]
    if topology.lan is LanMode.BRIDGED:
        bridge_node, bridge = gateway, "br-lan"
        lan = InterfacePlan("br-lan")
    else:
        bridge_node, bridge = _node(SWITCH), "br0"
        plan.nodes[SWITCH] = bridge_node
        lan = InterfacePlan("lan0")
        plan.links.append(LinkPlan((SWITCH, "up0"), (GATEWAY, "lan0")))
        bridge_node.interfaces[bridge] = InterfacePlan(bridge)
        bridge_node.interfaces["up0"] = InterfacePlan("up0", master=bridge)
    lan.addresses = ["192.168.77.1/24", "fd77::1/64"]
    gateway.interfaces[lan.name] = lan
    gateway.address = {4: "192.168.77.1", 6: "fd77::1"}
    bridge_node.interfaces[bridge].create = f"{bridge} address {mac(255, 0)} type bridge"
    plan.lan_interfaces.append(lan.name)
    for index in range(topology.clients):
        client = _client(plan, index, "192.168.77", "fd77:", host=10 + index)
        port = f"lan{index}" if bridge_node is gateway else f"port{index}"
        bridge_node.interfaces[port] = InterfacePlan(port, master=bridge)
        plan.links.append(LinkPlan((client.name, "eth0"), (bridge_node.name, port)))


def _wan(topology: Topology, plan: Plan) -> None:
    """The link between gateway and internet, and the internet's way back."""
    gateway, internet = plan.nodes[GATEWAY], plan.nodes[INTERNET]
    lan_count = topology.clients if topology.lan is LanMode.ROUTED else 1
    back: list[str] = []
    if not topology.nat:
        for index in range(lan_count):
            back.append(f"192.168.{77 + index}.0/24 via {WAN_GATEWAY[4]}")
            back.append(f"fd{77 + index}::/64 via {WAN_GATEWAY[6]}")
    gateway.interfaces["wan0"] = InterfacePlan(
        "wan0",
        [f"{WAN_GATEWAY[4]}/24", f"{WAN_GATEWAY[6]}/64"],
        [f"default via {WAN_INTERNET[4]}", f"default via {WAN_INTERNET[6]}"],
    )
    internet.interfaces["eth0"] = InterfacePlan(
        "eth0", [f"{WAN_INTERNET[4]}/24", f"{WAN_INTERNET[6]}/64"], back
    )
    # IPv6 binds to addresses of a local route only with this.
    internet.sysctls["net.ipv6.ip_nonlocal_bind"] = "1"
    internet.interfaces["lo"].routes = [f"local {prefix}" for prefix in INTERNET_PREFIX.values()]
    internet.address = dict(WAN_INTERNET)
    plan.links.append(LinkPlan((GATEWAY, "wan0"), (INTERNET, "eth0"), topology.wan))


def _client(plan: Plan, index: int, net4: str, net6: str, host: int) -> NodePlan:
    client = _node(f"client{index}")
    client.address = {4: f"{net4}.{host}", 6: f"{net6}:{host}"}
    client.interfaces["eth0"] = InterfacePlan(
        "eth0",
        [f"{net4}.{host}/24", f"{net6}:{host}/64"],
        [f"default via {net4}.1", f"default via {net6}:1"],
    )
    plan.nodes[client.name] = client
    return client


def _node(name: str, *, forwarding: bool = False) -> NodePlan:
    """A node with its loopback and the sysctls that make a fresh namespace predictable."""
    sysctls: dict[str, str] = {}
    for scope in ("all", "default"):
        sysctls |= {
            f"net.ipv6.conf.{scope}.disable_ipv6": "0",
            # Addresses must be usable at once, and stay when a link goes down.
            f"net.ipv6.conf.{scope}.accept_dad": "0",
            f"net.ipv6.conf.{scope}.keep_addr_on_down": "1",
            f"net.ipv6.conf.{scope}.accept_ra": "0",
            f"net.ipv6.conf.{scope}.router_solicitations": "0",
            f"net.ipv4.conf.{scope}.rp_filter": "0",
        }
        if forwarding:
            sysctls[f"net.ipv6.conf.{scope}.forwarding"] = "1"
    if forwarding:
        sysctls["net.ipv4.ip_forward"] = "1"
    return NodePlan(name, {"lo": InterfacePlan("lo")}, sysctls)
