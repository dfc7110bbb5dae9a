"""What Python's parser tells of an expression: a bound of the search's steps, literal parts.

Bound. An item has `steps`, the work to try it once from one place, and `ways`, the number of ends
it can have from there. In a sequence, whatever comes later is tried once for each way of what came
before; a lookaround has one way; a loop over what itself has several ways has no useful bound.
"""

from __future__ import annotations

import re
import warnings
from math import log2
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNBOUNDED: Final = float("inf")
_MOST_DOUBLINGS: Final = 30
_ASSERTIONS: Final = (sre.ASSERT, sre.ASSERT_NOT)
_REPEATS: Final = (sre.MAX_REPEAT, sre.MIN_REPEAT)
_STARTS: Final = (sre.AT_BEGINNING, sre.AT_BEGINNING_STRING)
_ENDS: Final = (sre.AT_END, sre.AT_END_STRING)
_PLAIN_FLAGS: Final = re.IGNORECASE | re.UNICODE


def steps(pattern: str, length: int) -> float:
    """A bound of the steps of one search in a text of at most `length` characters.

    Raises:
        ValueError: Python cannot read the expression.
        OverflowError: a number in it is too large.
    """
    items = list(_parse(pattern))
    work, _ = _sequence(items, length)
    anchored = bool(items) and items[0][0] is sre.AT and items[0][1] in _STARTS
    return work if anchored else work * (length + 1)


def literal_tail(pattern: str) -> str:
    """The domain whose name, or a name below it, every name with a match must be; "" if unknown.

    `(^|\\.)foo[0-9]+\\.example\\.com$` -> `example.com`.
    """
    items = _plain_items(pattern)
    if not items or items.pop() not in [(sre.AT, end) for end in _ENDS]:
        return ""
    tail: list[str] = []
    while items and items[-1][0] is sre.LITERAL:
        tail.append(chr(items.pop()[1]))
    text = "".join(reversed(tail)).lower()
    if not (items and _ends_label(items[-1])):
        text = text.partition(".")[2]
    sound = text.isascii() and not text.startswith(".") and not text.endswith(".")
    return text if sound and ".." not in text else ""


def literal_part(pattern: str) -> str:
    """The longest text, lower-case, that stands in every match; "" if unknown."""
    longest = run = ""
    for operator, value in _plain_items(pattern):
        run = run + chr(value).lower() if operator is sre.LITERAL else ""
        longest = max(longest, run, key=len)
    return longest if longest.isascii() else ""


def _plain_items(pattern: str) -> list[tuple[Any, Any]]:
    """The items that every match is made of, in order; none if that cannot be told."""
    try:
        parsed = _parse(pattern)
    except (ValueError, OverflowError):
        return []
    return [] if parsed.state.flags & ~_PLAIN_FLAGS else list(_flat(parsed))


def _parse(pattern: str) -> Any:
    try:
        with warnings.catch_warnings():
            # What Python may one day read otherwise is not read at all.
            warnings.simplefilter("error")
            return parser.parse(pattern, re.IGNORECASE)
    except (re.error, RecursionError, Warning) as error:
        raise ValueError(str(error)) from None


def _flat(items: Any) -> Iterator[tuple[Any, Any]]:
    """The items of a sequence, those of plain groups in place of the group."""
    for operator, value in items:
        if operator is sre.SUBPATTERN and not value[1] and not value[2]:
            yield from _flat(value[3])
        else:
            yield operator, value


def _ends_label(item: tuple[Any, Any]) -> bool:
    """Whether a whole label begins after this item: `^`, or `(^|\\.)`."""
    operator, value = item
    if operator is sre.BRANCH:
        return all(len(branch) > 0 and _ends_label(list(_flat(branch))[-1]) for branch in value[1])
    if operator is sre.LITERAL:
        return bool(value == ord("."))
    return operator is sre.AT and value in _STARTS


def _sequence(items: Any, length: int) -> tuple[float, float]:
    """(steps, ways) of items that follow each other."""
    work, ways = 1.0, 1.0
    for operator, value in items:
        more, branching = _item(operator, value, length)
        work += ways * more
        ways *= branching
    return work, ways


def _item(operator: Any, value: Any, length: int) -> tuple[float, float]:
    if operator is sre.SUBPATTERN:
        return _sequence(value[3], length)
    if operator is sre.BRANCH:
        each = [_sequence(branch, length) for branch in value[1]]
        return sum(work for work, _ in each), sum(ways for _, ways in each)
    if operator is sre.ATOMIC_GROUP:
        return _sequence(value, length)[0], 1
    if operator in _ASSERTIONS:
        return _sequence(value[1], length)[0], 1
    if operator in _REPEATS:
        least, most, repeated = value
        return _repeat(least, most, repeated, length)
    if operator is sre.POSSESSIVE_REPEAT:
        least, most, repeated = value
        return _repeat(least, most, repeated, length)[0], 1
    if operator is sre.GROUPREF_EXISTS:
        return _UNBOUNDED, _UNBOUNDED
    return (length, 1) if operator is sre.GROUPREF else (1, 1)


def _repeat(least: int, most: int, item: Any, length: int) -> tuple[float, float]:
    work, ways = _sequence(item, length)
    most = min(most, length)
    if ways == 1 or not most:
        return work * max(most, 1), max(most - least, 0) + 1
    if most > 1 and most * log2(ways) > _MOST_DOUBLINGS:
        return _UNBOUNDED, _UNBOUNDED
    ends = sum(ways**count for count in range(min(least, most), most + 1))
    return work * sum(ways**count for count in range(most)) + 1, ends
