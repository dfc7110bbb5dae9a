"""The only module that speaks netlink: observe the host, attach filters, add rules and routes.

Synchronous pyroute2, imported by short-lived children of the supervisor only (25 MB that no process
should keep; it does not run inside an event loop either). Everything written here can be found
again by name or protocol number, so `remove_all` needs no memory of what was done.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from functools import partial
from socket import AF_INET, AF_INET6
from typing import TYPE_CHECKING, Any, Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from mihomo_tproxy.dataplane.plan import (
    FILTER_NAME,
    LOOPBACK,
    PROTOCOL,
    Host,
    KernelPlan,
    Link,
    Marking,
    Rule,
    select_lan,
)
from mihomo_tproxy.errors import NetlinkFailed
from mihomo_tproxy.model.address import V4_BITS, address_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

INGRESS: Final = 0xFFFFFFF2
EGRESS: Final = 0xFFFFFFF3
FILTER_HANDLE: Final = 0x6D68
LOCAL_TABLE, MAIN_TABLE = 255, 254
LOCAL_ROUTE, BROADCAST_ROUTE, ANYCAST_ROUTE = 2, 3, 4
IFF_UP, IFF_LOOPBACK = 1, 8
FAMILIES: Final = (AF_INET, AF_INET6)
HIGHEST_PRIORITY: Final = 10
"""Filter priorities tried when other kinds of filters hold the first ones."""


@contextmanager
def _named(what: str) -> Iterator[None]:
    try:
        yield
    except NetlinkError as error:
        if error.code == errno.EPERM:
            raise NetlinkFailed(f"{what}: root (CAP_NET_ADMIN) is needed") from error
        raise NetlinkFailed(f"{what}: {os.strerror(error.code)}") from error


def observe(ipr: IPRoute) -> Host:
    """Everything the plan depends on, in one pass."""
    with _named("cannot read interfaces and routes"):
        links = tuple(_link(raw) for raw in ipr.get_links())
        own: set[int] = set()
        default_route: set[int] = set()
        tables: set[int] = set()
        local_routes: set[tuple[int, int]] = set()
        for family in FAMILIES:
            for route in ipr.get_routes(family=family):
                table = route.get_attr("RTA_TABLE") or route["table"]
                if route["proto"] == PROTOCOL:
                    local_routes.add((family, table))
                    continue
                tables.add(table)
                target = route.get_attr("RTA_DST")
                if (
                    table == LOCAL_TABLE
                    and target
                    and route["type"]
                    in (
                        LOCAL_ROUTE,
                        BROADCAST_ROUTE,
                        ANYCAST_ROUTE,
                    )
                ):
                    own.add(address_key(target))
                elif table == MAIN_TABLE and not route["dst_len"]:
                    default_route |= _outputs(route)
        on_link = tuple(_on_link(raw) for raw in ipr.get_addr())
        rules = tuple(_rule(raw) for family in FAMILIES for raw in ipr.get_rules(family=family))
    return Host(
        links=links,
        own=frozenset(own),
        on_link=on_link,
        default_route=frozenset(default_route),
        rules=rules,
        tables=frozenset(tables),
        local_routes=frozenset(local_routes),
    )


def _outputs(route: Any) -> set[int]:
    hops = route.get_attr("RTA_MULTIPATH") or ()
    single = route.get_attr("RTA_OIF")
    return {hop["oif"] for hop in hops} | ({single} if single else set())


def _link(raw: Any) -> Link:
    flags = raw["flags"]
    return Link(
        ifindex=raw["index"],
        name=raw.get_attr("IFLA_IFNAME"),
        up=bool(flags & IFF_UP),
        loopback=bool(flags & IFF_LOOPBACK),
        master=raw.get_attr("IFLA_MASTER") or 0,
        lower=raw.get_attr("IFLA_LINK") or 0,
        kind=raw.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") or "",
    )


def _on_link(raw: Any) -> tuple[int, int, int]:
    key = address_key(raw.get_attr("IFA_ADDRESS"))
    length = raw["prefixlen"] + (V4_BITS if raw["family"] == AF_INET else 0)
    return raw["index"], key >> (128 - length) << (128 - length), length


def _rule(raw: Any) -> Rule:
    return Rule(
        family=raw["family"],
        priority=raw.get_attr("FRA_PRIORITY") or 0,
        mark=raw.get_attr("FRA_FWMARK") or 0,
        mask=raw.get_attr("FRA_FWMASK") or 0,
        table=raw.get_attr("FRA_TABLE") or raw["table"],
        protocol=raw.get_attr("FRA_PROTOCOL") or 0,
        iif=raw.get_attr("FRA_IIFNAME") or "",
    )


def look() -> Host:
    """`observe` with a socket of its own."""
    with IPRoute() as ipr:
        return observe(ipr)


def synchronise(
    plan: KernelPlan, marking: Marking, ingress_fd: int, egress_fd: int, *, fresh: bool
) -> tuple[Host, list[Link]]:
    """Bring filters, rules and routes in line with the host as it is now.

    `fresh` replaces filters that are already there (an earlier instance's). Safe to repeat.
    Returns what was seen and the interfaces that are steered.

    Raises:
        NetlinkFailed: the kernel refused something that is not explained by an interface vanishing
            meanwhile.
    """
    with IPRoute() as ipr:
        host = observe(ipr)
        lan = select_lan(host.links, host.default_route, plan.patterns)
        _routes(ipr, plan, marking, host)
        _rules(ipr, plan, marking, host, [link.name for link in lan])
        steered = []
        for link in host.links:
            if link in lan:
                if _attach(ipr, link, ingress_fd, egress_fd, fresh=fresh):
                    steered.append(link)
            elif not link.loopback:
                _detach(ipr, link.ifindex)
    return host, steered


def _families(plan: KernelPlan) -> tuple[int, ...]:
    return (AF_INET, AF_INET6) if plan.ipv6 else (AF_INET,)


def _routes(ipr: IPRoute, plan: KernelPlan, marking: Marking, host: Host) -> None:
    for family in _families(plan):
        if family == AF_INET6 and not _ipv6_works():
            continue
        if (family, marking.table) not in host.local_routes:
            _local_route(ipr, family, marking.table)
        if plan.local and (family, marking.table + 1) not in host.local_routes:
            _local_route(ipr, family, marking.table + 1, _source(ipr, family))


def _ipv6_works() -> bool:
    try:
        with open("/proc/sys/net/ipv6/conf/lo/disable_ipv6", encoding="ascii") as file:
            return file.read().strip() == "0"
    except OSError:
        return False


def _source(ipr: IPRoute, family: int) -> str | None:
    """Any global address of ours: without one the kernel takes the destination as source."""
    for raw in ipr.get_addr(family=family):
        if raw["scope"] == 0 and raw["index"] != LOOPBACK:
            return str(raw.get_attr("IFA_LOCAL") or raw.get_attr("IFA_ADDRESS"))
    return None


def _local_route(ipr: IPRoute, family: int, table: int, source: str | None = None) -> None:
    arguments = _route_arguments(family, table)
    if source:
        arguments["prefsrc"] = source
    with _named(f"cannot add the local route on lo in table {table}"):
        ipr.route("replace", **arguments)


def _route_arguments(family: int, table: int) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "family": family,
        "dst": "0.0.0.0/0" if family == AF_INET else "::/0",
        "oif": LOOPBACK,
        "table": table,
        "type": "local",
        "proto": PROTOCOL,
    }
    if family == AF_INET:
        arguments["scope"] = "host"
    return arguments


def _rules(ipr: IPRoute, plan: KernelPlan, marking: Marking, host: Host, names: list[str]) -> None:
    mark, table, priority = marking
    needed = {
        Rule(family, priority, mark, mark, table, PROTOCOL, name)
        for family in _families(plan)
        for name in names
    }
    if plan.local:
        needed |= {
            Rule(family, priority, mark, mark, table + 1, PROTOCOL, "lo")
            for family in _families(plan)
        }
    ours = [rule for rule in host.rules if rule.protocol == PROTOCOL]
    for rule in needed - set(ours):
        with _named(f"cannot add the policy rule for {rule.iif}"):
            ipr.rule("add", **_rule_arguments(rule))
    for rule in ours:
        if rule not in needed:
            _delete_rule(ipr, rule)


def _rule_arguments(rule: Rule) -> dict[str, Any]:
    return {
        "family": rule.family,
        "priority": rule.priority,
        "fwmark": rule.mark,
        "fwmask": rule.mask,
        "table": rule.table,
        "protocol": rule.protocol,
        "iifname": rule.iif,
    }


def _delete_rule(ipr: IPRoute, rule: Rule) -> None:
    try:
        ipr.rule("del", **_rule_arguments(rule))
    except NetlinkError as error:
        if error.code != errno.ENOENT:
            raise NetlinkFailed(
                f"cannot remove the policy rule for {rule.iif}: {os.strerror(error.code)}"
            ) from error


def _attach(ipr: IPRoute, link: Link, ingress_fd: int, egress_fd: int, *, fresh: bool) -> bool:
    """False when the interface vanished meanwhile: the next event tells."""
    try:
        _clsact(ipr, link.ifindex)
        for parent, fd in ((INGRESS, ingress_fd), (EGRESS, egress_fd)):
            found = _our_filters(ipr, link.ifindex, parent)
            if found and not fresh:
                continue
            _replace_filter(ipr, link.ifindex, parent, fd, found[0] if found else None)
    except NetlinkError as error:
        if error.code in (errno.ENODEV, errno.ENXIO):
            return False
        raise NetlinkFailed(f"cannot attach to {link.name}: {os.strerror(error.code)}") from error
    return True


def _clsact(ipr: IPRoute, index: int) -> None:
    try:
        ipr.tc("add", "clsact", index)
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise


def _replace_filter(ipr: IPRoute, index: int, parent: int, fd: int, priority: int | None) -> None:
    for prio in [priority] if priority else range(1, HIGHEST_PRIORITY + 1):
        try:
            ipr.tc(
                "replace-filter", "bpf", index, FILTER_HANDLE, fd=fd, name=FILTER_NAME,
                parent=parent, classid=1, direct_action=True, prio=prio,
            )  # fmt: skip
        except NetlinkError as error:
            # Another kind of filter holds this priority.
            if error.code not in (errno.EEXIST, errno.EINVAL) or prio == HIGHEST_PRIORITY:
                raise
        else:
            return


def _our_filters(ipr: IPRoute, index: int, parent: int) -> list[int]:
    """Priorities of our filters on one hook."""
    found = []
    for raw in ipr.get_filters(index=index, parent=parent):
        options = raw.get_attr("TCA_OPTIONS")
        if options and options.get_attr("TCA_BPF_NAME") == FILTER_NAME:
            found.append(raw["info"] >> 16)
    return found


def _detach(ipr: IPRoute, index: int) -> None:
    """Remove our filters, and the clsact qdisc when nobody else's filter is left on it."""
    removed = False
    try:
        if not any(q.get_attr("TCA_KIND") == "clsact" for q in ipr.get_qdiscs(index=index)):
            return
        for parent in (INGRESS, EGRESS):
            for priority in _our_filters(ipr, index, parent):
                ipr.tc("del-filter", "bpf", index, FILTER_HANDLE, parent=parent, prio=priority)
                removed = True
        if removed and not any(
            raw.get_attr("TCA_OPTIONS")
            for parent in (INGRESS, EGRESS)
            for raw in ipr.get_filters(index=index, parent=parent)
        ):
            ipr.tc("del", "clsact", index)
    except NetlinkError as error:
        if error.code not in (errno.ENODEV, errno.ENXIO, errno.ENOENT):
            raise NetlinkFailed(
                f"cannot detach from interface {index}: {os.strerror(error.code)}"
            ) from error


def remove_all() -> list[str]:
    """Remove every filter, rule and route of ours from this namespace; says what there was.

    One thing that cannot be removed does not keep the rest.

    Raises:
        NetlinkFailed: naming what the kernel refused to remove.
    """
    removed: list[str] = []
    refused: list[str] = []

    def attempt(what: str, work: Callable[[], object]) -> None:
        try:
            work()
        except NetlinkFailed as error:
            refused.append(str(error))
        else:
            removed.append(what)

    with IPRoute() as ipr:
        host = observe(ipr)
        for rule in host.rules:
            if rule.protocol == PROTOCOL:
                attempt(f"rule for {rule.iif}", partial(_delete_rule, ipr, rule))
        for family, table in sorted(host.local_routes):
            attempt(f"local route in table {table}", partial(_delete_route, ipr, family, table))
        for link in host.links:
            if any(_our_filters(ipr, link.ifindex, parent) for parent in (INGRESS, EGRESS)):
                attempt(f"filters on {link.name}", partial(_detach, ipr, link.ifindex))
    if refused:
        raise NetlinkFailed("; ".join(refused))
    return removed


def _delete_route(ipr: IPRoute, family: int, table: int) -> None:
    arguments = _route_arguments(family, table)
    try:
        ipr.route("del", **arguments)
    except NetlinkError as error:
        if error.code != errno.ESRCH:
            raise NetlinkFailed(
                f"cannot remove the local route in table {table}: {os.strerror(error.code)}"
            ) from error
