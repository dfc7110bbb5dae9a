"""`DST-PORT` and `SRC-PORT`: a list of ports and ranges, `80/443/8000-9000`.

As in mihomo, a range may be written with its ends swapped or in brackets and empty items are
skipped; at most 28 items are allowed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.base import BaseRule

if TYPE_CHECKING:
    from mihomo_tproxy.model.metadata import Metadata

MAX_ITEMS: Final = 28
MAX_PORT: Final = 65535


class Port(BaseRule):
    """Matches one port of the flow against ranges, both ends included."""

    __slots__ = ("ranges",)

    def __init__(self, kind: str, payload: str, target: str, options: frozenset[str]) -> None:
        source = kind == "SRC-PORT"
        super().__init__(kind, payload, target, fields.SRC_PORT if source else fields.DST_PORT)
        self.ranges = parse_ports(payload)

    def match(self, metadata: Metadata) -> bool:
        source = self.fields == fields.SRC_PORT
        port = metadata.source_port if source else metadata.destination_port
        return any(first <= port <= last for first, last in self.ranges)


def parse_ports(text: str) -> tuple[tuple[int, int], ...]:
    """The ranges of a port list, in the order written.

    Raises:
        ValueError: not a list of ports.
    """
    items = [item for item in text.split("/") if item]
    if not items:
        raise ValueError(f"no port in {text!r}")
    if len(items) > MAX_ITEMS:
        raise ValueError(f"{len(items)} ports or ranges, at most {MAX_ITEMS} are allowed")
    return tuple(_parse_range(item) for item in items)


def _parse_range(item: str) -> tuple[int, int]:
    first, dash, last = (part.strip("[ ]") for part in item.partition("-"))
    ends = [_parse_port(item, first), _parse_port(item, last if dash else first)]
    return min(ends), max(ends)


def _parse_port(item: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= MAX_PORT):
        raise ValueError(f"not a port or range: {item!r} (0 to {MAX_PORT}, as in 443 or 8000-9000)")
    return int(text)
