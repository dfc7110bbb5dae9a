"""`IP-CIDR`, `IP-CIDR6` and `SRC-IP-CIDR`: an address within a prefix.

The two destination kinds are one, as in mihomo: each takes either family. `src` turns them to the
source.
"""

from __future__ import annotations

from mihomo_tproxy.matcher.cidr import parse_ranges
from mihomo_tproxy.matcher.cidr_set import CidrSet
from mihomo_tproxy.rule.address import AddressRule


class IpCidr(AddressRule):
    """Matches the destination, or the source, against one CIDR."""

    __slots__ = ()

    def __init__(self, kind: str, payload: str, target: str, options: frozenset[str]) -> None:
        source = kind == "SRC-IP-CIDR" or "src" in options
        spans = parse_ranges(payload)
        ranges = CidrSet.of_range(*spans[0]) if len(spans) == 1 else CidrSet.of_ranges(spans)
        no_resolve = "no-resolve" in options
        super().__init__(kind, payload, target, ranges, source=source, no_resolve=no_resolve)
