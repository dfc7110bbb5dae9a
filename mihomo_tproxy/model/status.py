"""`expected-status`: HTTP status codes that count as alive: `200/204/301-399`, `*` for any."""

from __future__ import annotations

from typing import Final

MAX_RANGES: Final = 28
"""mihomo's limit."""
_MAX: Final = 65535


def status_ranges(text: str) -> tuple[tuple[int, int], ...]:
    """The ranges of a list, both ends included; () for `*` and for "".

    Raises:
        ValueError: not a list of numbers and ranges.
    """
    text = text.strip()
    if text in ("", "*"):
        return ()
    parts = text.replace(",", "/").split("/")
    if len(parts) > MAX_RANGES:
        raise ValueError(f"{len(parts)} ranges, at most {MAX_RANGES}")
    return tuple(sorted(_range(part.strip()) for part in parts if part.strip()))


def is_expected(status: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    """Whether a status is in one of the ranges, or there are none."""
    return not ranges or any(low <= status <= high for low, high in ranges)


def _range(text: str) -> tuple[int, int]:
    first, dash, second = text.partition("-")
    low, high = _number(first, text), _number(second if dash else first, text)
    return (low, high) if low <= high else (high, low)


def _number(digits: str, text: str) -> int:
    digits = digits.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) < 6 and int(digits) <= _MAX):
        raise ValueError(f"expected status codes as in '200/300-399', found {text!r}")
    return int(digits)
