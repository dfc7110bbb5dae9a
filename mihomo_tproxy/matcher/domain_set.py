"""Membership of a name in many patterns, as mihomo writes them (wiki: "wildcard").

    example.com      this name
    +.example.com    this name and everything below it
    .example.com     everything below it, at any depth
    *.example.com    exactly one label more; `*` may stand for any one whole label

Names are lower-case ASCII without a dot at the end. Besides patterns a set may hold keywords (text
anywhere in the name) and expressions (objects whose `search(name)` finds something or None), which
lists such as geosite have. Invariant: the empty name is in no set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable


class Expression(Protocol):
    """A compiled regular expression."""

    pattern: str

    def search(self, name: str, /) -> object | None:
        """Something if it is found in the name, else None."""


class DomainSet:
    """The union of patterns. Filled once, then read."""

    __slots__ = ("below", "expressions", "keywords", "names", "one", "suffixes", "wildcards")

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        """Raises: ValueError: something is no pattern."""
        self.names: set[str] = set()
        """Exactly these."""
        self.suffixes: set[str] = set()
        """These and everything below."""
        self.below: set[str] = set()
        """Everything below these, at any depth."""
        self.one: set[str] = set()
        """Exactly one label more than these."""
        self.wildcards: set[str] = set()
        """Patterns with `*` labels elsewhere than in front."""
        self.keywords: list[str] = []
        self.expressions: list[Expression] = []
        for pattern in patterns:
            self.add(pattern)

    def add(self, pattern: str) -> None:
        """Take one pattern more.

        Raises:
            ValueError: not a pattern.
        """
        if pattern.startswith("+."):
            self.suffixes.add(pattern[2:])
        elif pattern.startswith("."):
            self.below.add(pattern[1:])
        elif pattern.startswith("*.") and "*" not in pattern[2:]:
            self.one.add(pattern[2:])
        elif "*" in pattern:
            self.wildcards.add(pattern)
        else:
            self.names.add(pattern)

    def __contains__(self, host: str) -> bool:
        if not host:
            return False
        if host in self.names or host in self.suffixes:
            return True
        at = host.find(".")
        if at >= 0 and host[at + 1 :] in self.one:
            return True
        while at >= 0:
            rest = host[at + 1 :]
            if rest in self.suffixes or rest in self.below:
                return True
            at = host.find(".", at + 1)
        if any(keyword in host for keyword in self.keywords):
            return True
        if self.wildcards and any(label_match(pattern, host) for pattern in self.wildcards):
            return True
        return any(each.search(host) is not None for each in self.expressions)

    def __len__(self) -> int:
        """The number of entries."""
        tables = (self.names, self.suffixes, self.below, self.one, self.wildcards)
        return sum(map(len, tables)) + len(self.keywords) + len(self.expressions)


def label_match(pattern: str, host: str) -> bool:
    """Whether a pattern with `*` labels stands for the name, label by label."""
    labels, wanted = host.split("."), pattern.split(".")
    return len(labels) == len(wanted) and all(
        symbol in ("*", label) for symbol, label in zip(wanted, labels, strict=True)
    )
