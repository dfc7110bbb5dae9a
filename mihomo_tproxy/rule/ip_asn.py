"""`IP-ASN` and `SRC-IP-ASN`: an address of an autonomous system, by its number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mihomo_tproxy.rule.address import AddressRule

if TYPE_CHECKING:
    from mihomo_tproxy.rule.context import RuleContext

MAX_NUMBER: Final = 0xFFFFFFFF


def ip_asn(
    kind: str, payload: str, target: str, options: frozenset[str], context: RuleContext
) -> AddressRule:
    """Raises: ValueError: no number, or there is no data."""
    plain = payload.isascii() and payload.isdigit() and len(payload) <= 10 and payload[0] != "0"
    if not plain or int(payload) > MAX_NUMBER:
        raise ValueError(f"not the number of an autonomous system: {payload!r} (as in 13335)")
    source = kind == "SRC-IP-ASN" or "src" in options
    no_resolve = "no-resolve" in options
    ranges = context.asn(int(payload))
    return AddressRule(kind, payload, target, ranges, source=source, no_resolve=no_resolve)
