"""Bring the kernel in line with a plan: load, choose numbers, attach, and keep up with the host.

For short-lived children of the supervisor: this is where pyroute2 is imported.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from mihomo_tproxy.dataplane import netlink
from mihomo_tproxy.dataplane.loading import load
from mihomo_tproxy.dataplane.pins import open_program, unpin
from mihomo_tproxy.dataplane.plan import (
    LOOPBACK,
    Marking,
    Steered,
    check_patterns,
    choose_marking,
)
from mihomo_tproxy.dataplane.tables import open_map, prefix_table

if TYPE_CHECKING:
    from mihomo_tproxy.dataplane.instance import Instance
    from mihomo_tproxy.dataplane.plan import KernelPlan


def prepare(instance: Instance, plan: KernelPlan) -> Marking:
    """Load and pin the programs and choose the numbers to steer with.

    What an earlier instance left keeps working until `synchronise` takes it over. On failure
    nothing of ours stays.

    Raises:
        DataplaneError: with what is missing.
    """
    host = netlink.look()
    check_patterns(host.links, plan.patterns)
    marking = choose_marking(host.rules, host.tables, plan.used_marks)
    unpin(instance.new_pins)
    load(instance.new_pins)
    instance.adopt_new_pins()
    return marking


def synchronise(
    pins: str, plan: KernelPlan, marking: Marking, generation: int, *, fresh: bool
) -> Steered:
    """Bring filters, rules, routes and maps in line with the host as it is now.

    Raises:
        DataplaneError: the kernel refused.
    """
    ingress, egress = open_program(pins, "lan_ingress"), open_program(pins, "lan_egress")
    host, lan = netlink.synchronise(plan, marking, ingress, egress, fresh=fresh)
    own = {key.to_bytes(16, "big"): b"\1" for key in host.own}
    open_map(pins, "own").replace(own)
    indexes = {link.ifindex for link in lan} | ({LOOPBACK} if plan.local else set())
    open_map(pins, "lan").replace({index.to_bytes(4, sys.byteorder): b"\1" for index in indexes})
    open_map(pins, "prefixes").replace(prefix_table(plan, host, lan, generation))
    return Steered(tuple(link.name for link in lan), len(own))
