"""Lists of numbers and ranges, `80/443/8000-9000`, as several kinds have them.

As in mihomo, a range may be written with its ends swapped or in brackets and empty items are
skipped; at most 28 items are allowed. A number that is too great is refused (mihomo cuts its high
bits off: its `DSCP,300` is 44).
"""

from __future__ import annotations

from typing import Final

Ranges = tuple[tuple[int, int], ...]

MAX_ITEMS: Final = 28


def parse_ranges(text: str, what: str, greatest: int) -> Ranges:
    """The ranges of a list, both ends included, in the order written.

    Args:
        what: what the numbers are, for the error.
        greatest: the greatest number allowed; the least is 0.

    Raises:
        ValueError: not a list of numbers.
    """
    items = [item for item in text.split("/") if item]
    if not items:
        raise ValueError(f"no {what} in {text!r}")
    if len(items) > MAX_ITEMS:
        raise ValueError(f"{len(items)} {what}s or ranges, at most {MAX_ITEMS} are allowed")
    return tuple(_parse_range(item, what, greatest) for item in items)


def in_ranges(ranges: Ranges, number: int) -> bool:
    """Whether one of the ranges holds the number."""
    return any(first <= number <= last for first, last in ranges)


def _parse_range(item: str, what: str, greatest: int) -> tuple[int, int]:
    first, dash, last = (part.strip("[ ]") for part in item.partition("-"))
    ends = [_parse_number(item, text, what, greatest) for text in (first, last if dash else first)]
    return min(ends), max(ends)


def _parse_number(item: str, text: str, what: str, greatest: int) -> int:
    digits = text.isascii() and text.isdigit() and len(text) <= len(str(greatest))
    if not digits or int(text) > greatest:
        raise ValueError(f"not a {what} or range: {item!r} (0 to {greatest}, ranges as in 8-15)")
    return int(text)
