"""The loaded BPF programs and their maps, in a network namespace of their own.

The calling thread is moved into a fresh, nameless namespace: it ends with the last descriptor, so
that an aborted test leaves nothing behind. Every address is local there (as the policy route makes
them on a gateway), which lets real sockets hold any 4-tuple.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from struct import pack
from typing import TYPE_CHECKING, NamedTuple

from mihomo_tproxy.dataplane import abi, bpf, loading
from mihomo_tproxy.dataplane.abi import Route
from mihomo_tproxy.model.address import V4_BITS, address_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mihomo_tproxy.model.enums import Verdict

BPFFS = Path("/sys/fs/bpf")
CLONE_NEWNET = 0x40000000
LOOPBACK = 1
MARK = 0x800
GENERATION = 7
MASKS = (2, 3, 10, 24, 26, 31)
"""Field sets in use as keys: destination; with source; with port; port and network; ...; all."""
DEFAULTS = abi.Settings(
    MARK, GENERATION, abi.FLAG_CACHE | abi.FLAG_IPV6, 1, 0x1A0A, MASKS, GENERATION, 0
)

PASS, SHOT = -1, 2
DROPPED = frozenset({Route.DROP, Route.CLOSED})

MAPS = (
    "settings", "own", "prefixes", "clients", "macs", "lan", "verdicts", "flows", "claimed",
    "claims", "fragments",
    "totals", "client_stats", "listeners",
)  # fmt: skip
WRITTEN = (
    "own", "prefixes", "clients", "macs", "lan", "verdicts", "flows", "claimed",
    "fragments", "client_stats",
)  # fmt: skip


class Outcome(NamedTuple):
    """What became of one frame."""

    route: Route
    action: int
    mark: int


def address(text: str) -> bytes:
    """An address as the maps hold it."""
    return address_key(text).to_bytes(16, "big")


def prefix(text: str) -> bytes:
    """A prefix as the longest-match maps hold it."""
    literal, length = text.split("/")
    bits = int(length) + (0 if ":" in literal else V4_BITS)
    return abi.prefix_key(address_key(literal), bits)


class Steering:
    """Programs, maps, and the sockets that stand for the relay."""

    def __init__(self, pins: Path, stack: ExitStack) -> None:
        self._stack = stack
        self.pins = pins
        self.maps = {name: bpf.Map.open(str(pins / name)) for name in MAPS}
        for opened in self.maps.values():
            stack.callback(opened.close)
        self.ingress = self._program(pins, "lan_ingress")
        self.egress = self._program(pins, "lan_egress")
        self.lookup = self._program(pins, "pick_listener")
        self.listeners = {
            abi.listener_slot(0, udp=udp, v6=v6): self._listener(udp=udp, v6=v6)
            for udp in (False, True)
            for v6 in (False, True)
        }

    def _program(self, pins: Path, name: str) -> int:
        fd = bpf.obj_get(str(pins / name))
        self._stack.callback(os.close, fd)
        return fd

    def _listener(self, *, udp: bool, v6: bool) -> socket.socket:
        family = socket.AF_INET6 if v6 else socket.AF_INET
        sock = self._stack.enter_context(
            socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
        )
        if v6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(("::1" if v6 else "127.0.0.1", 0))
        if not udp:
            sock.listen(64)
        return sock

    def reset(self) -> None:
        """Default settings, listeners up, every other map empty."""
        for name in WRITTEN:
            table = self.maps[name]
            for key in list(table.keys()):
                table.delete(key)
        self.relayed(seconds_ago=0)
        self.configure()
        for slot, sock in self.listeners.items():
            self.maps["listeners"].update_socket(slot, sock.fileno())

    def relayed(self, seconds_ago: int) -> None:
        """When the relay last had a TCP flow."""
        self.maps["claims"].update(bytes(4), pack("=Q", self.monotonic_ns() - seconds_ago * 10**9))

    def configure(self, **changes: object) -> None:
        """The default settings with these changes."""
        self.maps["settings"].update(bytes(4), DEFAULTS._replace(**changes).pack())  # type: ignore[arg-type]

    def flags(self, add: int = 0, remove: int = 0) -> None:
        """The default settings with flags added and removed."""
        self.configure(flags=(DEFAULTS.flags | add) & ~remove)

    def silence(self) -> None:
        """Nobody listens any more."""
        for slot in self.listeners:
            self.maps["listeners"].delete(pack("=I", slot))

    def own(self, text: str) -> None:
        """An address of this host."""
        self.maps["own"].update(address(text), b"\1")

    def decide(self, text: str, verdict: Verdict, generation: int = GENERATION) -> None:
        """A static verdict for a range; generation 0: the bypass list."""
        self.maps["prefixes"].update(prefix(text), abi.PREFIX_VERDICT.pack(generation, verdict))

    def totals(self) -> list[abi.Count]:
        """The counters of all routes, by number."""
        table = self.maps["totals"]
        rows = [table.lookup(pack("=I", route)) for route in range(len(Route))]
        return [abi.sum_counts(row or []) for row in rows]

    def client(self, text: str, route: Route) -> abi.Count:
        """The counter of one client and route."""
        row = self.maps["client_stats"].lookup(address(text))
        return abi.sum_counts(row or [], route)

    def run(self, frame: bytes, *, mark: int = 0, gso_size: int = 0) -> Outcome:
        """One frame in through a LAN interface; exactly one route must have counted it."""
        return self._run(self.ingress, frame, mark=mark, gso_size=gso_size)

    def run_down(self, frame: bytes, *, came_from: int = 0) -> Outcome:
        """One frame out through a LAN interface; `came_from`: the interface it entered by, or 0."""
        return self._run(self.egress, frame, ingress_ifindex=came_from)

    def _run(self, program: int, frame: bytes, **context: int) -> Outcome:
        before = self.totals()
        result = bpf.run_program(program, frame, **context)
        after = self.totals()
        counted = {
            Route(route): now.packets - then.packets
            for route, (then, now) in enumerate(zip(before, after, strict=True))
            if now != then
        }
        assert list(counted.values()) == [1], f"counted as {counted}"
        return Outcome(next(iter(counted)), result.action, result.mark)

    def attach_lookup(self) -> int:
        """Attach pick_listener to this namespace; it holds while the returned fd is open."""
        self.maps["lan"].update(pack("=I", LOOPBACK), b"\1")
        namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            return bpf.link_create(self.lookup, namespace, bpf.ATTACH_SK_LOOKUP)
        finally:
            os.close(namespace)

    @staticmethod
    def detach(link: int) -> None:
        """Take pick_listener off the namespace again."""
        os.close(link)

    @staticmethod
    def monotonic_ns() -> int:
        """The clock of the programs."""
        return time.clock_gettime_ns(time.CLOCK_MONOTONIC)

    def age(self, flow: bytes, seconds: int) -> None:
        """Make a UDP flow one that was last seen so long ago."""
        seen = self.monotonic_ns() - seconds * 10**9
        self.maps["flows"].update(flow, pack("=Q", seen))


@contextmanager
def own_namespace() -> Iterator[None]:
    """The calling thread in a fresh network namespace where every address is local."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if libc.unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare: root is needed")
        try:
            for command in (
                "link set lo up",
                "route add local default dev lo",
                "-6 route add local default dev lo",
            ):
                subprocess.run(["ip", *command.split()], check=True)
            yield
        finally:
            if libc.setns(home, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns: cannot return to the first namespace")
    finally:
        os.close(home)


@contextmanager
def steering(suffix: str = "") -> Iterator[Steering]:
    """The programs loaded, with their maps, in a namespace of their own; unpinned at the end."""
    pins = BPFFS / f"mihomo-tproxy-test-{os.getpid()}{suffix}"
    with own_namespace(), ExitStack() as stack:
        stack.callback(shutil.rmtree, pins, ignore_errors=True)
        loading.load(str(pins))
        yield Steering(pins, stack)
