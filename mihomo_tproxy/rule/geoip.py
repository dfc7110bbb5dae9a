"""`GEOIP` and `SRC-GEOIP`: an address of a country or list; `LAN` is of no file.

LAN is what Go's `net/netip` calls private, loopback, multicast, link-local unicast or unspecified
(RFC 1918, RFC 4193, RFC 4291): neither shared space (100.64.0.0/10) nor broadcast is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mihomo_tproxy.matcher.cidr import parse_cidr
from mihomo_tproxy.matcher.cidr_set import CidrSet
from mihomo_tproxy.rule.address import AddressRule

if TYPE_CHECKING:
    from mihomo_tproxy.rule.context import RuleContext

LAN: Final = (
    *("0.0.0.0/32", "10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
    *("192.168.0.0/16", "224.0.0.0/4", "::/128", "::1/128", "fc00::/7", "fe80::/10", "ff00::/8"),
)


def geoip(
    kind: str, payload: str, target: str, options: frozenset[str], context: RuleContext
) -> AddressRule:
    """Raises: ValueError: there is no such country or list."""
    lan = payload.lower() == "lan"
    ranges = lan_ranges() if lan else context.geoip(payload)
    source = kind == "SRC-GEOIP" or "src" in options
    no_resolve = "no-resolve" in options
    return AddressRule(kind, payload, target, ranges, source=source, no_resolve=no_resolve)


def lan_ranges() -> CidrSet:
    """The addresses that `LAN` stands for."""
    return CidrSet(prefix for text in LAN for prefix in parse_cidr(text))
