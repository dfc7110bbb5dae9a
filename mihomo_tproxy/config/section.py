"""Typed reading of one YAML mapping, as weakly typed as mihomo is.

`"443"` is a number where one is wanted, `5` a text, `"true"` and `yes` a boolean. An absent key and
`null` both mean the default. A wrong value is reported and the default stands in for it, so that
one pass finds every problem.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from mihomo_tproxy.config.report import did_you_mean
from mihomo_tproxy.config.yaml import resolve_plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mihomo_tproxy.config.report import Report
    from mihomo_tproxy.config.yaml import Value

E = TypeVar("E", bound=StrEnum)

_TRUE = frozenset({"true", "yes", "on", "y", "1"})
_FALSE = frozenset({"false", "no", "off", "n", "0"})


class Section:
    """One mapping. Each reader names a key; `warn_unknown` then speaks of what nobody named."""

    def __init__(self, report: Report, path: str, value: Value) -> None:
        self.report = report
        self.path = path
        self._known: set[str] = set()
        self._items: dict[str, Value] = {}
        if isinstance(value, dict):
            self._items = value
        elif value is not None:
            report.problem(path, f"expected a mapping, found {describe(value)}")

    @property
    def keys(self) -> list[str]:
        """The keys that are present, in file order."""
        return list(self._items)

    def where(self, key: str) -> str:
        """The path of a key."""
        return f"{self.path}.{key}" if self.path else key

    def problem(self, key: str, message: str) -> None:
        """Reports a problem of one key."""
        self.report.problem(self.where(key), message)

    def lack(self, key: str, message: str) -> None:
        """Reports that one key asks for what this version does not have."""
        self.report.lack(self.where(key), message)

    def take(self, key: str) -> Value:
        """The raw value of a key, None when absent."""
        self._known.add(key)
        return self._items.get(key)

    def text(self, key: str, default: str = "") -> str:
        """A text; numbers and booleans are written out."""
        value = self.take(key)
        if value is None:
            return default
        text = scalar_text(value)
        if text is None:
            self.problem(key, f"expected a text, found {describe(value)}")
            return default
        return text

    def boolean(self, key: str, default: bool) -> bool:
        """A truth value."""
        value = self.take(key)
        if value is None:
            return default
        word = (scalar_text(value) or "").lower()
        if word not in _TRUE and word not in _FALSE:
            self.problem(key, f"expected true or false, found {describe(value)}")
            return default
        return word in _TRUE

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        """A whole number within bounds, both included."""
        value = self.take(key)
        if value is None:
            return default
        number = resolve_plain(value.strip()) if isinstance(value, str) else value
        if isinstance(number, float) and number.is_integer():
            number = int(number)
        if not isinstance(number, int) or isinstance(number, bool):
            self.problem(key, f"expected a whole number, found {describe(value)}")
            return default
        if not low <= number <= high:
            self.problem(key, f"{number} is out of range, {low} to {high} is allowed")
            return default
        return number

    def choice(self, key: str, default: E) -> E:
        """One of the words of an enum, in either case."""
        value = self.take(key)
        if value is None:
            return default
        words = [str(member) for member in type(default)]
        word = (scalar_text(value) or "").lower()
        if word not in words:
            near = did_you_mean(word, words)
            found = describe(value)
            self.problem(key, f"expected one of {', '.join(words)}, found {found}{near}")
            return default
        return type(default)(word)

    def values(self, key: str) -> Iterator[tuple[str, Value]]:
        """The items of a list, each with its path."""
        value = self.take(key)
        if value is None:
            return
        if not isinstance(value, list):
            self.problem(key, f"expected a list, found {describe(value)}")
            return
        for place, item in enumerate(value):
            yield f"{self.where(key)}[{place}]", item

    def texts(self, key: str) -> Iterator[tuple[str, str]]:
        """The items of a list of texts, each with its path; other items are reported."""
        for path, item in self.values(key):
            text = scalar_text(item)
            if text is None:
                self.report.problem(path, f"expected a text, found {describe(item)}")
            else:
                yield path, text

    def warn_unknown(self, known: Iterable[str] = ()) -> None:
        """Warns of every key that nobody named, with the nearest known name."""
        if self.report.foreign:
            return
        names = sorted({*self._known, *known})
        for key in [key for key in self._items if key not in self._known]:
            near = "" if self.report.full else did_you_mean(key, names)
            self.report.warning(self.where(key), f"unknown key{near}")


def scalar_text(value: Value) -> str | None:
    """A scalar written out, None for null, lists and mappings."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    return None


def describe(value: Value) -> str:
    """A value as an error shows it."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = scalar_text(value) or ""
    return repr(text if len(text) <= 64 else text[:61] + "...")
