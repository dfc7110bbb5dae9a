"""One namespace of a rig: run programs and functions in it, open sockets in it, break its links.

A node holds no state of the kernel's: every method acts on the namespace as it is now, so a node
can be attached to a rig that another process has built.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import threading
from contextlib import contextmanager
from socket import AF_INET, AF_INET6, SOCK_STREAM
from socket import socket as new_socket
from typing import TYPE_CHECKING, Any, TypeVar

from mihomo_tproxy.errors import RigError
from mihomo_tproxy.rig import host
from mihomo_tproxy.rig.process import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from mihomo_tproxy.rig.plan import NodePlan

T = TypeVar("T")

_BLACKHOLE = "rig_blackhole"
_TAIL = 2000


class Node:
    """A namespace with a name, its addresses and its programs."""

    def __init__(self, plan: NodePlan, netns: str, directory: Path) -> None:
        self.name = plan.name
        """Its name in the rig: `gateway`, `internet`, `client0`, ..."""
        self.netns = netns
        """Its name in /run/netns."""
        self.plan = plan
        self.directory = directory
        """Where the output of its programs goes, one file for each."""
        self.processes: list[Process] = []
        """What `start` has started, in order."""
        self.peers: dict[str, tuple[str, str]] = {}
        """Per interface, the namespace and name of the other end of its link."""

    def __repr__(self) -> str:
        return f"<Node {self.name} in {self.netns}>"

    def address(self, version: int = 4) -> str:
        """The address others reach this node by; `version` is 4 or 6."""
        try:
            return self.plan.address[version]
        except KeyError:
            raise RigError(f"{self.name} has no IPv{version} address") from None

    def command(self, argv: Sequence[str]) -> list[str]:
        """The command that runs `argv` in this namespace, for callers with a runner of their own.

        nsenter replaces itself, so the process id is the program's.
        """
        return ["nsenter", f"--net={host.netns_path(self.netns)}", "--", *argv]

    def run(
        self,
        argv: Sequence[str] | str,
        *,
        timeout: float = 30.0,
        check: bool = True,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program to its end; a string is split as a shell would, without a shell.

        Raises RigError after `timeout` seconds, and with `check` when it does not exit with 0.
        """
        words = shlex.split(argv) if isinstance(argv, str) else list(argv)
        what = f"{self.name}: {shlex.join(words)}"
        try:
            done = subprocess.run(
                self.command(words),
                stdin=subprocess.DEVNULL if stdin is None else None,
                input=stdin,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
                env=env,
                cwd=cwd,
            )
        except subprocess.TimeoutExpired:
            raise RigError(f"{what}: has not ended in {timeout} s") from None
        if check and done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip())[-_TAIL:]
            raise RigError(f"{what}: exit code {done.returncode}: {said}")
        return done

    def start(
        self,
        argv: Sequence[str] | str,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Process:
        """Starts a program and returns at once; it ends with the rig at the latest."""
        words = shlex.split(argv) if isinstance(argv, str) else list(argv)
        program = os.path.basename(words[0])
        log = self.directory / f"{self.name}-{len(self.processes)}-{program}.log"
        name = f"{self.name}: {program}"
        process = Process(self.command(words), log=log, name=name, env=env, cwd=cwd)
        self.processes.append(process)
        return process

    @contextmanager
    def enter(self) -> Iterator[None]:
        """The calling thread is in this namespace for the block; never await inside."""
        with host.inside(self.netns):
            yield

    def socket(
        self,
        family: int = AF_INET,
        kind: int = SOCK_STREAM,
        proto: int = 0,
    ) -> new_socket:
        """A socket of this namespace; the calling process stays where it is."""
        with host.inside(self.netns):
            return new_socket(family, kind, proto)

    def connect(self, address: str, port: int, *, timeout: float = 10.0) -> new_socket:
        """A TCP connection from this node, with `timeout` in seconds for each of its operations.

        Raises OSError as connect(2) does.
        """
        sock = self.socket(AF_INET6 if ":" in address else AF_INET)
        try:
            sock.settimeout(timeout)
            sock.connect((address, port))
        except BaseException:
            sock.close()
            raise
        return sock

    def call(self, function: Callable[..., T], *args: Any, timeout: float = 30.0) -> T:
        """Runs a function in a thread that is in this namespace; its result or its exception.

        Programs the function starts are in the namespace too. Raises RigError after `timeout`
        seconds; the thread then goes on by itself.
        """
        outcome: list[tuple[T | None, BaseException | None]] = []

        def work() -> None:
            try:
                with host.inside(self.netns):
                    outcome.append((function(*args), None))
            except BaseException as error:
                outcome.append((None, error))

        thread = threading.Thread(target=work, name=f"rig-{self.name}", daemon=True)
        thread.start()
        thread.join(timeout)
        if not outcome:
            raise RigError(f"{self.name}: {function!r} has not returned in {timeout} s")
        result, error = outcome[0]
        if error is not None:
            raise error
        return result  # type: ignore[return-value]

    def ip(self, *lines: str) -> None:
        """Runs lines of `ip` here: `node.ip("link set eth0 mtu 1400")`. Raises RigError."""
        host.run_ip(lines, self.netns)

    def sysctl(self, name: str, value: object | None = None) -> str:
        """Sets a sysctl of this namespace if a value is given; returns what it is now."""
        if value is not None:
            host.write_sysctls(self.netns, {name: str(value)})
        with host.inside(self.netns):
            return host.sysctl_path(name).read_text().strip()

    def configure(self, interface: str | None = None) -> None:
        """Brings an interface, or all of them, to the planned state: up, addresses, routes."""
        chosen = self.plan.interfaces.values() if interface is None else [self._planned(interface)]
        self.ip(*(line for plan in chosen for line in plan.commands()))

    def link_down(self, interface: str) -> None:
        """Drops a link: both ends lose their carrier."""
        self.ip(f"link set {interface} down")

    def link_up(self, interface: str) -> None:
        """Brings a dropped link back with its addresses and routes.

        Returns when it carries traffic, unless its other end is down.
        """
        self.configure(interface)
        ends = [(self.netns, interface)]
        if interface in self.peers:
            ends.append(self.peers[interface])
        if all(host.interface_flags(*end) & host.IFF_UP for end in ends):
            for netns, name in ends:
                host.wait_running(netns, [name])
                # Who was asked for while the link was down would be asked again only a second on.
                host.run_ip([f"neigh flush dev {name} nud incomplete"], netns)

    def add_address(self, interface: str, address: str) -> None:
        """Adds an address with prefix length, usable at once."""
        self.ip(f"addr add {address} dev {interface}{' nodad' if ':' in address else ''}")

    def delete_address(self, interface: str, address: str) -> None:
        """Removes an address with prefix length."""
        self.ip(f"addr del {address} dev {interface}")

    def blackhole(self, address: str) -> None:
        """Packets from and to `address` vanish in this node without an answer."""
        family = "ip6" if ":" in address else "ip"
        rules = "\n".join(
            f"add rule inet {_BLACKHOLE} {chain} {family} {side} {address} drop"
            for chain in ("early", "late")
            for side in ("saddr", "daddr")
        )
        self._nft(
            f"add table inet {_BLACKHOLE}\n"
            f"add chain inet {_BLACKHOLE} early {{ type filter hook prerouting priority -500; }}\n"
            f"add chain inet {_BLACKHOLE} late {{ type filter hook output priority -500; }}\n"
            f"{rules}\n"
        )

    def end_blackholes(self) -> None:
        """Undoes every `blackhole` of this node."""
        self._nft(f"add table inet {_BLACKHOLE}\ndelete table inet {_BLACKHOLE}\n")

    def masquerade(self, interface: str) -> None:
        """What leaves by `interface` gets its address as source, both families."""
        self._nft(
            "add table inet rig_nat\n"
            "add chain inet rig_nat post { type nat hook postrouting priority 100; }\n"
            f"add rule inet rig_nat post oifname {interface} masquerade\n"
        )

    def _nft(self, script: str) -> None:
        try:
            self.run(["nft", "-f", "-"], stdin=script)
        except RigError as error:
            raise RigError(f"nftables refused (is the package nftables there?): {error}") from None

    def _planned(self, interface: str) -> Any:
        try:
            return self.plan.interfaces[interface]
        except KeyError:
            raise RigError(f"{self.name} has no interface {interface}") from None
