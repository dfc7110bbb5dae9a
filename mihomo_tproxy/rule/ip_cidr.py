"""`IP-CIDR`, `IP-CIDR6` and `SRC-IP-CIDR`: an address within a prefix.

The two destination kinds are one, as in mihomo: each takes either family. `src` turns them to the
source. A flow whose address is not known is not matched, and no name is resolved to find out: a
flow that was steered always shows its address, and mihomo too looks at that address and resolves
nothing then. So the rule depends on the address alone, never on the name, `no-resolve` or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.matcher.cidr import parse_cidr
from mihomo_tproxy.matcher.cidr_set import CidrSet
from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.base import BaseRule

if TYPE_CHECKING:
    from mihomo_tproxy.model.metadata import Metadata


class IpCidr(BaseRule):
    """Matches the destination, or the source, against one CIDR."""

    __slots__ = ("_keys", "prefixes")

    def __init__(self, kind: str, payload: str, target: str, options: frozenset[str]) -> None:
        source = kind == "SRC-IP-CIDR" or "src" in options
        super().__init__(kind, payload, target, fields.SRC_ADDR if source else fields.DST_ADDR)
        self.prefixes = parse_cidr(payload)
        self._keys = CidrSet(self.prefixes)

    def match(self, metadata: Metadata) -> bool:
        if self.fields == fields.SRC_ADDR:
            return metadata.source_key() in self._keys
        key = metadata.destination_key()
        return key is not None and key in self._keys
