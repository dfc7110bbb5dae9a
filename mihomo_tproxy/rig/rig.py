"""A rig: the namespaces of a topology, up and down.

    with Rig.standard(clients=2, wan=WanProfile(delay_ms=20)) as rig:
        rig.gateway.start(["my-proxy", "-c", "proxy.yaml"]).wait_for_line("ready")
        rig.clients[0].run(["curl", "-sS", rig.servers.url("/bytes/1000000")])

Invariants: whatever was made is in the state file before it is made, so a death at any point leaves
nothing that the guardian or `rig down` does not find. `down` may be called at any time and twice.
Several rigs live side by side.
"""

from __future__ import annotations

import ipaddress
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from mihomo_tproxy.errors import RigError
from mihomo_tproxy.rig import host, plan, state
from mihomo_tproxy.rig.node import Node
from mihomo_tproxy.rig.process import Process
from mihomo_tproxy.rig.serving import Servers
from mihomo_tproxy.rig.topology import LanMode, Topology, WanProfile, load_topology

if TYPE_CHECKING:
    from types import TracebackType

PACKAGE_ROOT = Path(__file__).resolve().parents[2]
STOP_TIMEOUT_S = 3.0


class Rig:
    """The nodes of one topology. A context manager: up on entry, down on exit."""

    def __init__(
        self, topology: Topology | None = None, *, log_directory: Path | None = None
    ) -> None:
        """With `log_directory`, what programs print is kept there after the rig is down."""
        self.topology = topology or Topology()
        self.log_directory = log_directory
        self.plan = plan.make_plan(self.topology)
        self.nodes: dict[str, Node] = {}
        """By name; empty while the rig is down."""
        self.state: state.State | None = None
        self._guardian: subprocess.Popen[bytes] | None = None
        self._lines: dict[str, Process] = {}
        self._servers: Servers | None = None
        self._wan_changes = 0

    @classmethod
    def standard(
        cls,
        *,
        clients: int = 2,
        bridged: bool = False,
        switched: bool = False,
        l3: bool = False,
        vlan: int | None = None,
        nat: bool = False,
        wan: WanProfile | None = None,
        name: str | None = None,
        log_directory: Path | None = None,
    ) -> Rig:
        """A rig from the usual switches; see Topology. Raises RigError for what does not fit."""
        if bridged and switched:
            raise RigError("a LAN is bridged or switched, not both")
        mode = LanMode.BRIDGED if bridged else LanMode.SWITCHED if switched else LanMode.ROUTED
        return cls(
            Topology(name=name, clients=clients, lan=mode, l3=l3, vlan=vlan, nat=nat, wan=wan),
            log_directory=log_directory,
        )

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Rig:
        """A rig from a YAML topology. Raises RigError naming every mistake in the file."""
        return cls(load_topology(Path(path)))

    @property
    def name(self) -> str:
        """Its name among the rigs of this host."""
        return self._up().name

    @property
    def gateway(self) -> Node:
        """The router between LAN and WAN."""
        return self.node(plan.GATEWAY)

    @property
    def internet(self) -> Node:
        """The far side, where servers run."""
        return self.node(plan.INTERNET)

    @property
    def clients(self) -> list[Node]:
        """The LAN's hosts in order."""
        return [self.node(f"client{index}") for index in range(self.topology.clients)]

    @property
    def lan_interfaces(self) -> list[str]:
        """The gateway's interfaces towards the clients."""
        return self.plan.lan_interfaces

    @property
    def servers(self) -> Servers:
        """The built-in servers on the internet node, started when first asked for."""
        if self._servers is None:
            self._servers = Servers(self.internet, PACKAGE_ROOT)
        return self._servers

    def node(self, name: str) -> Node:
        """A node by name. Raises RigError when the rig is down or has none of that name."""
        self._up()
        try:
            return self.nodes[name]
        except KeyError:
            raise RigError(f"no node {name}; there are {', '.join(self.nodes)}") from None

    def destination(self, number: int, version: int = 4) -> str:
        """The internet's address number 1..254: one for each thing a test wants to tell apart."""
        if not 1 <= number <= 254:
            raise RigError(f"destination {number} is not within 1..254")
        return str(ipaddress.ip_network(plan.INTERNET_PREFIX[version])[number])

    @property
    def pin_directory(self) -> Path:
        """A directory on bpffs for this rig's pins; removed with the rig."""
        path = host.mounted("bpf")[0] / self._up().prefix
        self.register_pin(path)
        path.mkdir(exist_ok=True)
        return path

    def register_pin(self, path: str | os.PathLike[str]) -> None:
        """Has `path` (below a bpffs mount) removed with all below it when the rig goes down."""
        current = self._up()
        if str(path) not in current.pins:
            current.pins.append(str(path))
            current.save()

    def up(self, *, persistent: bool = False) -> None:
        """Builds everything. A persistent rig stays after this process ends, until taken down.

        Raises RigError, with nothing left behind, when the host refuses.
        """
        if self.state is not None:
            raise RigError(f"rig {self.state.name} is up already")
        host.require_host()
        state.ensure_mounts()
        self.state = self._claim(persistent)
        try:
            if not persistent:
                self._guardian = self._start_guardian(self.state)
            self._build(self.state)
        except BaseException:
            self.down()
            raise

    def down(self) -> list[str]:
        """Stops every program and removes everything; one line for each thing that stays."""
        if self.state is None:
            return []
        self._stop_processes()
        problems = state.clean(self.state)
        for process in self._processes():
            with suppress(RigError):
                process.wait(STOP_TIMEOUT_S)
        if self._guardian is not None and self._guardian.stdin is not None:
            self._guardian.stdin.close()
            self._guardian.wait(state.KILL_TIMEOUT_S)
        self.state, self._guardian, self._servers = None, None, None
        self.nodes, self._lines, self._wan_changes = {}, {}, 0
        return problems

    def set_wan(self, profile: WanProfile) -> None:
        """Changes what the WAN does to packets from now on. Needs a topology with a `wan`."""
        directory = self._up().directory
        problems = profile.problems()
        if problems:
            raise RigError("\n".join(problems))
        line = self._lines.get(plan.INTERNET)
        if line is None:
            raise RigError("the WAN is a plain link; give the topology a wan profile")
        path = directory / f"line-{plan.INTERNET}.json"
        path.write_text(json.dumps(asdict(profile)), encoding="utf-8")
        self._wan_changes += 1
        line.send_signal(signal.SIGHUP)
        line.wait_for_line(f"^profile {self._wan_changes} loaded$")

    def replug(self, client: int) -> None:
        """Puts a client's link back after an end of it was deleted."""
        links = enumerate(self.plan.links)
        number, link = next(x for x in links if x[1].left[0] == f"client{client}")
        if link.profile is not None or link.vlan is not None:
            raise RigError("only a plain link can be plugged in again")
        with suppress(RigError):
            self.node(link.left[0]).ip(f"link del {link.left[1]}")
        host.run_ip([link.veth(number, self._up().namespaces)])
        for end, interface in link.ends:
            self.node(end).link_up(interface)

    def __enter__(self) -> Rig:
        self.up()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        problems = self.down()
        if problems and error is None:
            raise RigError("; ".join(problems))

    def _up(self) -> state.State:
        if self.state is None:
            raise RigError("the rig is down")
        return self.state

    def _claim(self, persistent: bool) -> state.State:
        """A state file of our own, with a prefix that no namespace carries."""
        while True:
            prefix = f"mt{secrets.token_hex(2)}"
            namespaces = {name: f"{prefix}-{name}" for name in self.plan.nodes}
            if not any(host.netns_path(netns).exists() for netns in namespaces.values()):
                break
        owner = 0 if persistent else os.getpid()
        claimed = state.State(
            name=self.topology.name or prefix,
            prefix=prefix,
            owner=owner,
            owner_start=(state.process_start(owner) or 0) if owner else 0,
            namespaces=namespaces,
        )
        state.claim(claimed)
        return claimed

    def _start_guardian(self, current: state.State) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            module_command("guardian", str(current.path), str(os.getpid())),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=module_environment(),
            start_new_session=True,
        )

    def _build(self, current: state.State) -> None:
        logs = self.log_directory or current.directory
        logs.mkdir(parents=True, exist_ok=True)
        host.run_ip([f"netns add {netns}" for netns in current.namespaces.values()])
        for name, node_plan in self.plan.nodes.items():
            netns = current.namespaces[name]
            host.write_sysctls(netns, node_plan.sysctls)
            self.nodes[name] = Node(node_plan, netns, logs)
        for link in self.plan.links:
            for (end, interface), (peer, name) in (link.ends, link.ends[::-1]):
                self.nodes[end].peers[interface] = (current.namespaces[peer], name)
        veths = []
        for number, link in enumerate(self.plan.links):
            if link.profile is None:
                veths.append(link.veth(number, current.namespaces))
            else:
                self._start_line(link, current)
        host.run_ip(veths)
        for node in self.nodes.values():
            creations = [x.create for x in node.plan.interfaces.values() if x.create is not None]
            node.ip(*(f"link add {words}" for words in creations))
            self._add_vlans(node, current)
        for process in self._lines.values():
            process.wait_for_line("^ready")
        for node in self.nodes.values():
            node.configure()
        for node in self.nodes.values():
            host.wait_running(node.netns, node.plan.interfaces)
        if self.topology.nat:
            self.gateway.masquerade("wan0")

    def _start_line(self, link: plan.LinkPlan, current: state.State) -> None:
        """The user-space line of a link, in the namespace of its right end."""
        (left, left_name), (right, right_name) = link.left, link.right
        key = right if right == plan.INTERNET else right_name
        profile = current.directory / f"line-{key}.json"
        profile.write_text(json.dumps(asdict(link.profile or WanProfile())), encoding="utf-8")
        ends = (current.namespaces[left], left_name, current.namespaces[right], right_name)
        self._lines[key] = Process(
            self.nodes[right].command(module_command("wan", str(profile), *ends)),
            log=current.directory / f"line-{key}.log",
            name=f"line {left} - {right}",
            env=module_environment(),
        )

    def _add_vlans(self, node: Node, current: state.State) -> None:
        """The tagged interfaces of a node: the kernel's, or programs where it has none."""
        for interface in node.plan.interfaces.values():
            if interface.parent is None:
                continue
            name, tag = interface.name, str(self.topology.vlan)
            try:
                node.ip(f"link add link {interface.parent} name {name} type vlan id {tag}")
            except RigError:
                key = f"vlan-{node.name}-{name}"
                arguments = (node.netns, interface.parent, name, tag)
                self._lines[key] = Process(
                    node.command(module_command("vlan", *arguments)),
                    log=current.directory / f"{key}.log",
                    name=key,
                    env=module_environment(),
                )

    def _processes(self) -> list[Process]:
        """All programs, in the order they have to end."""
        started = [process for node in self.nodes.values() for process in reversed(node.processes)]
        return started + list(self._lines.values())

    def _stop_processes(self) -> None:
        """SIGTERM to all programs of the nodes; whoever stays meets SIGKILL in `clean`."""
        processes = [p for p in self._processes() if p not in self._lines.values()]
        for process in processes:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for process in processes:
            with suppress(RigError):
                process.wait(max(0.0, deadline - time.monotonic()))


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of this package as a program of its own."""
    return [sys.executable, "-m", f"mihomo_tproxy.rig.{module}", *arguments]


def module_environment() -> dict[str, str]:
    """The environment in which `module_command` finds this package, installed or not."""
    return {**os.environ, "PYTHONPATH": str(PACKAGE_ROOT)}
