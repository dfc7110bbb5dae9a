"""Which packets are never steered, in words: what `bpf/decide.h` and the clients' tables come to.

For explanations only; the kernel has its own ranges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mihomo_tproxy.dataplane.plan import by_length, covered
from mihomo_tproxy.matcher.cidr import parse_cidr
from mihomo_tproxy.model.address import is_v4

if TYPE_CHECKING:
    from mihomo_tproxy.dataplane.plan import KernelPlan

UNROUTABLE: Final = tuple(
    prefix
    for text in ("224.0.0.0/3", "127.0.0.0/8", "0.0.0.0/8", "169.254.0.0/16",
                 "ff00::/8", "fe80::/10", "::/96")
    for prefix in parse_cidr(text)
)  # fmt: skip
PRIVATE: Final = tuple(
    prefix
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10",
                 "192.0.0.0/24", "fc00::/7")
    for prefix in parse_cidr(text)
)  # fmt: skip


def never_steered(plan: KernelPlan, source: int, destination: int) -> str:
    """Why packets between two addresses (128-bit keys) are none of ours, "" if they are.

    What `bpf/decide.h` and the tables come to, in words; the host's own addresses and the ranges of
    its LANs are left alone besides.
    """
    if covered(source, 128, by_length(plan.exclude)):
        return "the client is in gateway.clients.exclude"
    if plan.include and not covered(source, 128, by_length(plan.include)):
        return "the client is not in gateway.clients.include"
    if not plan.ipv6 and not is_v4(destination):
        return "ipv6 is false"
    if covered(destination, 128, by_length(UNROUTABLE)):
        return "the address is not routable"
    if not plan.private and covered(destination, 128, by_length(PRIVATE)):
        return "the address is private (gateway.bypass-private)"
    if covered(destination, 128, by_length(plan.bypass)):
        return "the address is in gateway.bypass"
    return ""
