"""`IP-SUFFIX` and `SRC-IP-SUFFIX`: the last bits of an address, `0.0.0.8/8` or `::1/64`.

The bits of the other family are never compared. An IPv4-mapped suffix is one of IPv6, as in mihomo.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.model import fields
from mihomo_tproxy.model.address import address_key, is_v4
from mihomo_tproxy.rule.base import BaseRule

if TYPE_CHECKING:
    from mihomo_tproxy.model.metadata import Metadata


class IpSuffix(BaseRule):
    """Matches the destination, or the source, by its low bits."""

    __slots__ = ("_bits", "_mask", "_v4", "resolves")

    def __init__(self, kind: str, payload: str, target: str, options: frozenset[str]) -> None:
        source = kind == "SRC-IP-SUFFIX" or "src" in options
        super().__init__(kind, payload, target, fields.SRC_ADDR if source else fields.DST_ADDR)
        self.resolves = not (source or "no-resolve" in options)
        self._v4, bits, length = _parse(payload)
        self._mask = (1 << length) - 1
        self._bits = bits & self._mask

    def match(self, metadata: Metadata) -> bool:
        if self.fields == fields.SRC_ADDR:
            key: int | None = metadata.source_key()
        else:
            key = metadata.destination_key()
            if key is None and self.resolves:
                key = metadata.resolved_key()
        return key is not None and key & self._mask == self._bits and is_v4(key) is self._v4


def _parse(text: str) -> tuple[bool, int, int]:
    """(whether it is IPv4, the address, how many of its bits count)."""
    address, _, length = text.partition("/")
    family_bits = 128 if ":" in address else 32
    plain = length.isascii() and length.isdigit() and len(length) <= 3
    if not plain or int(length) > family_bits or "%" in address:
        raise ValueError(f"not a suffix: {text!r} (an address and how many of its last bits count)")
    return family_bits == 32, address_key(address), int(length)
