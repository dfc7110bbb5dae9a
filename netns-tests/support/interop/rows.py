"""What interoperability is tried with: a server program and the proxies that lead to it.

A `Row` is one line of the table: one entry of `proxies`, and why a check is not made with it. A
`Peer` is one server from a distribution or a package index with all its rows. Both are plain
values, built when tests are collected; nothing runs before `Peer.start`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mihomo_tproxy.rig.plan import WAN_INTERNET

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mihomo_tproxy.rig import Node, Process

SERVER = WAN_INTERNET[4]
SERVER_6 = WAN_INTERNET[6]
"""Where all servers listen: the internet node's own addresses, as the gateway sees it."""

READY_S = 20.0

CHECKS = ("1 B", "1 MB", "100 MB", "close", "udp", "8 kB", "remotes", "cone")
"""The columns. `close`: the client ends its side first, the answer still comes. `remotes`: 100
remotes from one client port. `cone`: all of them see one port, and strangers may answer to it."""
UDP_CHECKS = CHECKS[4:]

Proxy = dict[str, Any]
"""An entry of `proxies`."""


@dataclass(frozen=True)
class Row:
    """One proxy of one server."""

    server: str
    name: str
    proxy: Proxy
    cannot: dict[str, str] = field(default_factory=dict)
    """Check -> why it is not made."""
    helpers: tuple[Proxy, ...] = ()
    """Further entries the proxy needs, such as its dialer."""
    tries: int = 1
    """How often the check `udp` begins anew when datagrams are lost."""
    duplex: bool = True
    """Whether the server goes on when both directions are full."""

    def __str__(self) -> str:
        return f"{self.server} {self.name}"

    @property
    def entries(self) -> list[Proxy]:
        """The proxy, under the name of the row, and its helpers."""
        return [{"name": str(self), **self.proxy}, *self.helpers]

    @property
    def checks(self) -> list[str]:
        """The checks to make."""
        return [check for check in CHECKS if check not in self.cannot]


@dataclass
class Peer:
    """A server program and its rows."""

    name: str
    launch: Callable[[Node, Path], Sequence[Process]]
    """Starts what there is to start, with files of its own in a directory."""
    rows: list[Row] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    """TCP ports to wait for."""
    tries: int = 1
    """More than one for a server that loses datagrams by itself."""
    duplex: bool = True
    processes: list[Process] = field(default_factory=list)
    _bulky: set[tuple[str | None, ...]] = field(default_factory=set)

    def start(self, node: Node, directory: Path) -> None:
        """Returns when all of its ports are open. Raises RigError with its log otherwise."""
        directory.mkdir(parents=True, exist_ok=True)
        self.processes = list(self.launch(node, directory))
        for number, port in enumerate(self.ports):
            # One program for all ports, or one for each.
            process = self.processes[number if len(self.processes) > 1 else 0]
            process.wait_for_port(port, timeout=READY_S)

    def stop(self) -> None:
        """Ends its programs."""
        for process in self.processes:
            process.stop()

    def row(
        self, name: str, proxy: Proxy, cannot: dict[str, str], helpers: Sequence[Proxy] = ()
    ) -> None:
        """Adds a line of the table; 100 MB once for each protocol, transport and cipher."""
        carrier = tuple(proxy.get(key) for key in ("type", "network", "cipher"))
        if carrier in self._bulky:
            cannot = {"100 MB": "a row above has the same protocol, transport and cipher", **cannot}
        self._bulky.add(carrier)
        self.rows.append(
            Row(self.name, name, proxy, cannot, tuple(helpers), self.tries, self.duplex)
        )


NO_HALF_CLOSE = {"close": "the server ends both sides when the client ends its own"}
NO_WS_HALF_CLOSE = {"close": "WebSocket has no half-close"}
NO_CONE = {"cone": "one stream, and one port, for each remote"}
HTTP_ONLY_STREAMS = "HTTP carries no datagrams"


def no_udp(why: str) -> dict[str, str]:
    """No UDP check is made."""
    return dict.fromkeys(UDP_CHECKS, why)
