"""`expected-status`: the status codes that count as alive, as in `204`, `200/302` or `200-299`."""

from __future__ import annotations

from typing import Final

ANY: Final = ((0, 999),)
Ranges = tuple[tuple[int, int], ...]
"""First and last of each."""


def parse_status(text: str) -> Ranges:
    """The ranges of an option; `*` and "" stand for every status.

    Raises:
        ValueError: it is no list of numbers and ranges; the text says so.
    """
    text = text.strip()
    if text in ("", "*"):
        return ANY
    parts = (part.strip() for part in text.replace(",", "/").split("/"))
    return tuple(_range(part) for part in parts if part)


def expects(ranges: Ranges, status: int) -> bool:
    """Whether a status is one of them. 0, no answer at all, never is."""
    return status > 0 and any(low <= status <= high for low, high in ranges)


def _range(text: str) -> tuple[int, int]:
    low, dash, high = text.partition("-")
    ends = (low, high if dash else low)
    if not all(end.strip().isdecimal() and end.isascii() for end in ends):
        raise ValueError(f"expected status codes as in 200/204 or 200-299, found {text!r}")
    first, last = (min(int(end), 999) for end in ends)
    return (first, last) if first <= last else (last, first)
