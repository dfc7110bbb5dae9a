"""Who leads to whom: groups to their members, proxies to their `dialer-proxy`.

Invariant of what passes: nothing leads back to itself, nor on through more than MAX_DEPTH others,
so that picking ends. A circle that the file draws is an error, with its path. A provider's proxy
whose dialer does not exist, leads back to it or too far is foreign data: it is named in a warning
and stays in its groups as a reject.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mihomo_tproxy.config.proxies import BUILT_IN
from mihomo_tproxy.config.report import did_you_mean
from mihomo_tproxy.config.specs.base import ProxySpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mihomo_tproxy.config.report import Report
    from mihomo_tproxy.config.specs.group import GroupSpec

    Edges = Mapping[str, Sequence[str]]

MAX_DEPTH: Final = 32
"""Outbounds that may stand one behind the other."""
SHOWN: Final = 5
"""Proxies of providers that one warning names."""


def check_chains(
    report: Report,
    proxies: tuple[ProxySpec, ...],
    groups: tuple[GroupSpec, ...],
    provided: tuple[ProxySpec, ...],
) -> tuple[ProxySpec, ...]:
    """The providers' proxies, without what cannot be dialled; what is wrong is reported."""
    names = {*BUILT_IN, *(proxy.name for proxy in (*proxies, *provided))}
    names = names.union(group.name for group in groups) - {""}
    paths: dict[str, str] = {}
    edges: dict[str, tuple[str, ...]] = {}
    for place, proxy in enumerate(proxies):
        where = f"proxies[{place}].dialer-proxy"
        if proxy.dialer_proxy and proxy.dialer_proxy not in names:
            near = did_you_mean(proxy.dialer_proxy, sorted(names))
            report.problem(where, f"there is no proxy or group {proxy.dialer_proxy!r}{near}")
        elif proxy.dialer_proxy:
            edges.setdefault(proxy.name, (proxy.dialer_proxy,))
            paths.setdefault(proxy.name, where)
    for place, group in enumerate(groups):
        edges.setdefault(group.name, group.members)
        paths.setdefault(group.name, f"proxy-groups[{place}]")
    for ring in circles(edges):
        found = shortest_circle(edges, ring)
        if len(found) > MAX_DEPTH:
            found[MAX_DEPTH // 2 : -1] = ["..."]
        way = " -> ".join(found)
        report.problem(paths[ring[0]], f"goes round in a circle: {way}")
    if deep := next(too_deep(edges), ""):
        report.problem(paths[deep], f"leads on through more than {MAX_DEPTH} others")
    return _drop_broken(report, provided, names, edges)


def _drop_broken(
    report: Report, provided: tuple[ProxySpec, ...], names: set[str], edges: Edges
) -> tuple[ProxySpec, ...]:
    dialers = {spec.name: spec.dialer_proxy for spec in provided if spec.dialer_proxy}
    broken = {name: f"no {dialer!r}" for name, dialer in dialers.items() if dialer not in names}
    known = {name: (dialer,) for name, dialer in dialers.items() if dialer in names}
    for ring in circles({**edges, **known}):
        broken |= {name: f"{dialers[name]!r} leads back" for name in ring if name in dialers}
    known = {name: ways for name, ways in known.items() if name not in broken}
    for name in too_deep({**edges, **known}):
        if name in known:
            broken[name] = f"{dialers[name]!r} leads too far"
    if broken:
        shown = [f"{name!r} ({reason})" for name, reason in list(broken.items())[:SHOWN]]
        more = ", ..." if len(broken) > SHOWN else ""
        report.warning(
            "proxy-providers",
            f"{len(broken)} proxies reject, for their `dialer-proxy`: {', '.join(shown)}{more}",
        )
    return tuple(
        ProxySpec(spec.name, "reject") if spec.name in broken else spec for spec in provided
    )


def circles(edges: Edges) -> Iterator[list[str]]:
    """The sets of names of which each leads to each other, each in the order of `edges`."""
    place = {name: number for number, name in enumerate(edges)}
    for ring in _components(edges):
        if len(ring) > 1 or ring[0] in edges[ring[0]]:
            yield sorted(ring, key=place.__getitem__)


def too_deep(edges: Edges) -> Iterator[str]:
    """The names that lead on through more than MAX_DEPTH others."""
    depth: dict[str, int] = {}
    for ring in _components(edges):
        for name in ring:
            depth[name] = 1 + max((depth.get(member, 0) for member in edges[name]), default=0)
            if depth[name] > MAX_DEPTH:
                yield name


def _components(edges: Edges) -> Iterator[list[str]]:
    """All names, those together that lead to each other, after what they lead to (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    open_names: dict[str, None] = {}
    for root in edges:
        if root in index:
            continue
        index[root] = low[root] = len(index)
        open_names[root] = None
        stack = [(root, iter(edges[root]))]
        while stack:
            name, members = stack[-1]
            for member in members:
                if member not in edges:
                    continue
                if member not in index:
                    index[member] = low[member] = len(index)
                    open_names[member] = None
                    stack.append((member, iter(edges[member])))
                    break
                if member in open_names:
                    low[name] = min(low[name], index[member])
            else:
                stack.pop()
                if stack:
                    above = stack[-1][0]
                    low[above] = min(low[above], low[name])
                if low[name] == index[name]:
                    yield _close(open_names, name)


def _close(open_names: dict[str, None], name: str) -> list[str]:
    """Take from the open names what was opened since `name`, and it."""
    ring = []
    while True:
        last, _ = open_names.popitem()
        ring.append(last)
        if last == name:
            return ring


def shortest_circle(edges: Edges, ring: Sequence[str]) -> list[str]:
    """A shortest way within a ring from its first name back to it.

    Raises:
        ValueError: there is none.
    """
    start, within = ring[0], set(ring)
    came_from: dict[str, str] = {}
    found = [start]
    for name in found:
        for member in edges[name]:
            if member == start:
                way = [name]
                while way[-1] != start:
                    way.append(came_from[way[-1]])
                return [*reversed(way), start]
            if member in within and member not in came_from:
                came_from[member] = name
                found.append(member)
    raise ValueError(f"{start!r} is in no circle")
