"""What the kernel should look like, as plain values: no netlink, no maps, so that it can be tested.

`KernelPlan` is what the configuration asks for, `Host` is what is there; the functions say what
follows from both.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from mihomo_tproxy.dataplane import abi
from mihomo_tproxy.errors import DataplaneError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

STATIC: Final = Struct("=16sBB")
"""Of a prefix whose verdict is known: key in network order, length, verdict."""
LOOPBACK: Final = 1
PROTOCOL: Final = 219
"""Marks our rules and routes (`ip rule` shows `proto 219`), so that cleanup finds only ours."""
FILTER_NAME: Final = "mihomo_tproxy"
FULL_MASK: Final = 0xFFFFFFFF

MARKS: Final = (
    0x20000000, 0x10000000, 0x08000000, 0x04000000, 0x02000000, 0x40000000,
    0x00008000, 0x00004000, 0x00000800, 0x00000400,
)  # fmt: skip
"""Bits to choose the steering mark from. Tailscale uses 0xff0000, mwan3 0x3f00, Kubernetes and
Docker 0x4000 and 0x8000, wg-quick whole values without a mask."""
OWN_MARK: Final = 0x01000000
"""Of the daemon's own sockets while the gateway's own traffic is steered and no `routing-mark` is
set: without a mark their packets would come back to it."""
TABLES: Final = range(2330, 2400, 2)
PRIORITY: Final = 900
"""Of our rules: after `local`, before mwan3 (1001), Tailscale (5210) and main (32766)."""


Prefix = tuple[int, int]
"""A 128-bit address key and the prefix length in 128 bits."""


class Link(NamedTuple):
    """One network interface."""

    ifindex: int
    name: str
    up: bool
    loopback: bool
    master: int
    """Index of the bridge or bond it is a port of, 0 for none."""
    lower: int
    """Index of the interface a VLAN lies on, 0 for none."""
    kind: str
    """`vlan`, `bridge`, `veth`, ... or ""."""


class Rule(NamedTuple):
    """One policy rule, as far as it matters here."""

    family: int
    priority: int
    mark: int
    mask: int
    table: int
    protocol: int
    iif: str


class Host(NamedTuple):
    """What netlink shows of this namespace."""

    links: tuple[Link, ...]
    own: frozenset[int]
    """Every local and broadcast address, as 128-bit keys."""
    on_link: tuple[tuple[int, int, int], ...]
    """(interface index, prefix key, prefix length in 128 bits) of each directly attached range."""
    default_route: frozenset[int]
    """Indexes of interfaces that hold a default route."""
    rules: tuple[Rule, ...]
    tables: frozenset[int]
    """Routing tables that have routes which are not ours."""
    local_routes: frozenset[tuple[int, int]]
    """(family, table) of our own local routes."""


class Marking(NamedTuple):
    """The numbers this instance steers with; chosen once, at start."""

    mark: int
    table: int
    """Local route for what arrives from the LAN; `table + 1` for the gateway's own traffic."""
    priority: int


class Steered(NamedTuple):
    """The outcome of looking at the host once."""

    lan: tuple[str, ...]
    """Names of the steered interfaces."""
    own: int
    """How many addresses are this host's."""


class KernelPlan(NamedTuple):
    """The part of a configuration that the kernel carries out."""

    patterns: tuple[str, ...]
    """Interface names or globs; () for every one that looks like a LAN."""
    bypass: tuple[Prefix, ...]
    static: bytes
    """`STATIC` records of what follows from the rules alone: the supervisor keeps many of them."""
    masks: tuple[int, ...]
    include: tuple[Prefix, ...]
    exclude: tuple[Prefix, ...]
    include_macs: tuple[bytes, ...]
    exclude_macs: tuple[bytes, ...]
    workers: int
    routing_mark: int
    used_marks: int
    """Bits of every mark that sockets of ours carry."""
    cache: bool
    closed: bool
    private: bool
    ipv6: bool
    local: bool

    def flags(self) -> int:
        """The FLAG_* bits for the map `settings`."""
        return (
            abi.FLAG_CACHE * self.cache
            | abi.FLAG_CLOSED * self.closed
            | abi.FLAG_CLIENTS_ONLY * bool(self.include or self.include_macs)
            | abi.FLAG_CLIENTS * bool(self.include or self.exclude)
            | abi.FLAG_MACS * bool(self.include_macs or self.exclude_macs)
            | abi.FLAG_PRIVATE * self.private
            | abi.FLAG_IPV6 * self.ipv6
            | abi.FLAG_LOCAL * self.local
        )


def choose_marking(rules: Iterable[Rule], tables: Iterable[int], used_marks: int = 0) -> Marking:
    """A mark, two tables and a priority that nobody uses.

    `used_marks` are bits of marks on packets that must not be steered.

    Raises:
        DataplaneError: every candidate is taken.
    """
    foreign = [rule for rule in rules if rule.protocol != PROTOCOL]
    used = {rule.table for rule in foreign} | set(tables)
    free = (bit for bit in MARKS if not bit & used_marks)
    mark = next((bit for bit in free if not any(_clashes(rule, bit) for rule in foreign)), None)
    table = next((t for t in TABLES if t not in used and t + 1 not in used), None)
    if mark is None or table is None:
        what = "mark bit" if mark is None else "routing table"
        raise DataplaneError(f"no {what} is free: other rules (ip rule) use every one we could")
    lowest = min((rule.priority for rule in foreign if rule.priority > 0), default=PRIORITY + 1)
    if lowest < 2:
        raise DataplaneError(
            "a policy rule of priority 1 leaves no room before it: give it a higher number"
        )
    return Marking(mark, table, min(PRIORITY, lowest - 1))


def _clashes(rule: Rule, bit: int) -> bool:
    if rule.mask == FULL_MASK:
        return rule.mark == bit
    return bool(rule.mask & bit)


def select_lan(
    links: Sequence[Link], default_route: frozenset[int], patterns: tuple[str, ...]
) -> list[Link]:
    """The interfaces to steer.

    A port of a bridge or bond is left to its master. A VLAN on top of a chosen interface is chosen
    too: its packets leave the lower interface's path with the tag.
    """
    if not patterns:
        return [
            link
            for link in links
            if link.up
            and not link.loopback
            and not link.master
            and link.ifindex not in default_route
        ]
    from fnmatch import fnmatchcase  # brings more modules, which only this child needs

    chosen = {
        link.ifindex
        for link in links
        if not link.loopback and any(fnmatchcase(link.name, pattern) for pattern in patterns)
    }
    masters = {link.master for link in links if link.ifindex in chosen and link.master}
    chosen |= masters
    chosen |= {
        link.ifindex
        for link in links
        if link.kind == "vlan" and link.lower in chosen and link.ifindex not in default_route
    }
    return [link for link in links if link.ifindex in chosen and not link.master]


def check_patterns(links: Sequence[Link], patterns: tuple[str, ...]) -> None:
    """Every plain name must exist at start; a glob may match nothing yet.

    Raises:
        DataplaneError: naming the interface, and those there are.
    """
    names = [link.name for link in links if not link.loopback]
    present = ", ".join(names) or "none"
    for pattern in patterns:
        if not any(sign in pattern for sign in "*?[") and pattern not in names:
            raise DataplaneError(
                f"gateway.lan: there is no interface {pattern!r} (there are: {present}); "
                f"write {pattern + '*'!r} for one that may come later"
            )


def by_length(prefixes: Iterable[tuple[int, int]]) -> dict[int, set[int]]:
    """Prefixes (128-bit key and length) for `covered`: the leading bits of each, by length."""
    bits: dict[int, set[int]] = {}
    for key, length in prefixes:
        bits.setdefault(length, set()).add(key >> (128 - length))
    return bits


def covered(key: int, length: int, by: Mapping[int, set[int]]) -> bool:
    """Whether a prefix lies inside one of `by_length`."""
    return any(size <= length and key >> (128 - size) in bits for size, bits in by.items())
