"""The programs' tables, written from a plan: settings, clients, prefixes.

Bytes and maps only, no netlink. Everything may be repeated at any time.
"""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

from mihomo_tproxy.dataplane import abi
from mihomo_tproxy.dataplane.bpf import Map, netns_cookie
from mihomo_tproxy.dataplane.plan import STATIC, by_length, covered
from mihomo_tproxy.errors import DataplaneError
from mihomo_tproxy.model.enums import Verdict

if TYPE_CHECKING:
    from mihomo_tproxy.dataplane.plan import Host, KernelPlan, Link, Marking


def write_settings(
    pins: str, plan: KernelPlan, marking: Marking, generation: int, epoch: int
) -> None:
    """Switch the programs to a plan, a generation of rules and an epoch of verdicts, at once."""
    settings = abi.Settings(
        marking.mark, generation, plan.flags(), plan.workers, plan.routing_mark, plan.masks,
        epoch, netns_cookie(),
    )  # fmt: skip
    with closing(open_map(pins, "settings")) as table:
        table.update(bytes(4), settings.pack())


def write_clients(pins: str, plan: KernelPlan) -> None:
    """The LAN hosts that are steered or left alone.

    Raises:
        DataplaneError: the kernel does not take them.
    """
    listed = {abi.prefix_key(*prefix): bytes([abi.CLIENT_INCLUDE]) for prefix in plan.include}
    listed |= {abi.prefix_key(*prefix): bytes([abi.CLIENT_EXCLUDE]) for prefix in plan.exclude}
    macs = {abi.MAC.pack(mac): bytes([abi.CLIENT_INCLUDE]) for mac in plan.include_macs}
    macs |= {abi.MAC.pack(mac): bytes([abi.CLIENT_EXCLUDE]) for mac in plan.exclude_macs}
    for name, wanted in (("clients", listed), ("macs", macs)):
        with closing(open_map(pins, name)) as table:
            try:
                table.replace(wanted)
            except OSError as error:
                raise DataplaneError(
                    f"gateway.clients: {len(wanted)} entries do not fit: {error.strerror}"
                ) from error


def prefix_table(
    plan: KernelPlan, host: Host, lan: list[Link], generation: int
) -> dict[bytes, bytes]:
    """The map `prefixes`: the bypass list and the LANs' own ranges, then static verdicts.

    What is never steered wins over any rule, also a rule with a longer prefix.
    """
    indexes = {link.ifindex for link in lan}
    never = [*plan.bypass, *((key, size) for index, key, size in host.on_link if index in indexes)]
    direct = abi.PREFIX_VERDICT.pack(0, Verdict.DIRECT)
    table = {abi.prefix_key(*prefix): direct for prefix in never}
    around = by_length(never)
    values = {each: abi.PREFIX_VERDICT.pack(generation, each) for each in Verdict}
    for key, length, verdict in STATIC.iter_unpack(plan.static):
        if not covered(int.from_bytes(key, "big"), length, around):
            table[abi.PREFIX.pack(length, key)] = values[verdict]
    return table


def open_map(pins: str, name: str) -> Map:
    """A pinned map of this instance.

    Raises:
        DataplaneError: it is not there, or may not be opened.
    """
    path = os.path.join(pins, name)
    try:
        return Map.open(path)
    except OSError as error:
        raise DataplaneError(f"cannot open the map {path}: {error.strerror}") from error
