"""`DST-PORT` and `SRC-PORT`: lists of ports and ranges (`rule.ranges`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.base import BaseRule
from mihomo_tproxy.rule.ranges import in_ranges, parse_ranges

if TYPE_CHECKING:
    from mihomo_tproxy.model.metadata import Metadata

MAX_PORT: Final = 65535


class Port(BaseRule):
    """Matches one port of the flow against ranges, both ends included."""

    __slots__ = ("ranges",)

    def __init__(self, kind: str, payload: str, target: str, options: frozenset[str]) -> None:
        source = kind == "SRC-PORT"
        super().__init__(kind, payload, target, fields.SRC_PORT if source else fields.DST_PORT)
        self.ranges = parse_ranges(payload, "port", MAX_PORT)

    def match(self, metadata: Metadata) -> bool:
        source = self.fields == fields.SRC_PORT
        port = metadata.source_port if source else metadata.destination_port
        return in_ranges(self.ranges, port)
