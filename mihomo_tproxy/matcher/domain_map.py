"""Values by domain patterns, as mihomo's `hosts` writes and finds them.

    example.com      this name
    +.example.com    this name and everything below it
    .example.com     everything below it, at any depth
    *.example.com    exactly one label more; `*` may stand for any one whole label

Where several patterns fit, labels are compared from the right: the label itself is preferred, then
`*`, then a pattern that takes everything below (observed with mihomo 1.19.32). Of two entries for
the same names the later one counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

V = TypeVar("V")

_BELOW: Final = ""
"""In a node: the value for everything below."""
_HERE: Final = "."
"""In a node: the value for the name itself. Neither is a label."""


class DomainMap(Generic[V]):
    """Filled once, then read."""

    __slots__ = ("_names", "_root")

    def __init__(self, entries: Mapping[str, V]) -> None:
        self._names: dict[str, V] = {}
        self._root: dict[str, Any] = {}
        for pattern, value in entries.items():
            if pattern.startswith("+."):
                self._insert(pattern[2:], _HERE, value)
                self._insert(pattern[2:], _BELOW, value)
            elif pattern.startswith("."):
                self._insert(pattern[1:], _BELOW, value)
            elif "*" in pattern:
                self._insert(pattern, _HERE, value)
            else:
                self._names[pattern] = value

    def get(self, name: str) -> V | None:
        """The value of the pattern that fits a name best; None without one."""
        found = self._names.get(name)
        if found is None and self._root:
            found = self._search(self._root, name.split("."))
        return found

    def _insert(self, domain: str, key: str, value: V) -> None:
        node = self._root
        for label in reversed(domain.split(".")):
            node = node.setdefault(label, {})
        node[key] = value

    def _search(self, node: dict[str, Any], labels: list[str]) -> V | None:
        """At most two branches at each label, and only where a pattern has both."""
        if not labels:
            value: V | None = node.get(_HERE)
            return value
        *rest, label = labels
        for branch in (label, "*"):
            inner = node.get(branch) if branch not in (_BELOW, _HERE) else None
            if inner is not None:
                found = self._search(inner, rest)
                if found is not None:
                    return found
        below: V | None = node.get(_BELOW)
        return below
