"""`DST-PORT`, `SRC-PORT` and `IN-PORT`: lists of ports and ranges (`rule.ranges`).

IN-PORT is the port of the listener that the flow came in by; what is steered has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.base import BaseRule
from mihomo_tproxy.rule.ranges import parse_ranges

if TYPE_CHECKING:
    from mihomo_tproxy.model.metadata import Metadata

MAX_PORT: Final = 65535
_FIELDS: Final = {
    "DST-PORT": fields.DST_PORT,
    "SRC-PORT": fields.SRC_PORT,
    "IN-PORT": fields.INBOUND,
}


class Port(BaseRule):
    """Matches one port of the flow against ranges, both ends included."""

    __slots__ = ("ranges",)

    def __init__(self, kind: str, payload: str, target: str, options: frozenset[str]) -> None:
        super().__init__(kind, payload, target, _FIELDS[kind])
        self.ranges = parse_ranges(payload, "port", MAX_PORT)

    def match(self, metadata: Metadata) -> bool:
        looks_at = self.fields
        if looks_at == fields.DST_PORT:
            port = metadata.destination_port
        elif looks_at == fields.SRC_PORT:
            port = metadata.source_port
        else:
            port = metadata.inbound_port
        return any(first <= port <= last for first, last in self.ranges)
