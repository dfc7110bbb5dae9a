"""Rules that hold ranges of addresses: IP-CIDR, GEOIP, IP-ASN, RULE-SET of the behavior `ipcidr`.

The engine takes the ranges into its index; `match` is for whoever asks the rule alone. A flow that
only has a name is resolved once, by the first rule that is reached and may (`no-resolve` may not);
from then on every rule sees the address, as in mihomo. A source is never resolved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.base import BaseRule

if TYPE_CHECKING:
    from mihomo_tproxy.matcher.cidr_set import CidrSet
    from mihomo_tproxy.model.metadata import Metadata


class AddressRule(BaseRule):
    """Matches the destination, or the source, against ranges."""

    __slots__ = ("ranges", "resolves")

    def __init__(
        self,
        kind: str,
        payload: str,
        target: str,
        ranges: CidrSet,
        *,
        source: bool = False,
        no_resolve: bool = False,
    ) -> None:
        super().__init__(kind, payload, target, fields.SRC_ADDR if source else fields.DST_ADDR)
        self.ranges = ranges
        self.resolves = not (source or no_resolve)

    def match(self, metadata: Metadata) -> bool:
        if self.fields == fields.SRC_ADDR:
            return metadata.source_key() in self.ranges
        key = metadata.destination_key()
        if key is None and self.resolves:
            key = metadata.resolved_key()
        return key is not None and key in self.ranges
