"""`IN-PORT`: the port of the listener that a flow came in by, a list as other ports are.

What is steered came in by none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.base import BaseRule
from mihomo_tproxy.rule.port import MAX_PORT
from mihomo_tproxy.rule.ranges import in_ranges, parse_ranges

if TYPE_CHECKING:
    from mihomo_tproxy.model.metadata import Metadata


class InPort(BaseRule):
    """Matches the listener's port."""

    __slots__ = ("_ranges",)

    def __init__(self, kind: str, payload: str, target: str, options: frozenset[str]) -> None:
        super().__init__(kind, payload, target, fields.INBOUND)
        self._ranges = parse_ranges(payload, "port", MAX_PORT)

    def match(self, metadata: Metadata) -> bool:
        return in_ranges(self._ranges, metadata.inbound_port)
