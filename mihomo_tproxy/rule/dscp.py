"""`DSCP`: the six bits of the client's packets (RFC 2474), a list as ports are.

A flow whose packets nobody looked at has 0, as in mihomo: its TCP flows, and those of proxies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.base import BaseRule
from mihomo_tproxy.rule.ranges import in_ranges, parse_ranges

if TYPE_CHECKING:
    from mihomo_tproxy.model.metadata import Metadata

MAX_DSCP: Final = 63


class Dscp(BaseRule):
    """Matches the differentiated services code point."""

    __slots__ = ("_ranges",)

    def __init__(self, kind: str, payload: str, target: str, options: frozenset[str]) -> None:
        super().__init__(kind, payload, target, fields.DSCP)
        self._ranges = parse_ranges(payload, "DSCP", MAX_DSCP)

    def match(self, metadata: Metadata) -> bool:
        return in_ranges(self._ranges, metadata.dscp)
