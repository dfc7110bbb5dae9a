"""Membership of a name in many patterns, as mihomo writes them (wiki: "wildcard").

    example.com      this name
    +.example.com    this name and everything below it
    .example.com     everything below it, at any depth
    *.example.com    exactly one label more
    +.*.example      `*` may stand for any one whole label, also behind `+.` and `.`

Names are lower-case ASCII without a dot at the end. What is a pattern was observed with mihomo
1.19.32, which skips others in a provider's file. A pattern outside ASCII, with a blank or with a
colon never matches there; here it is none, so that whoever reads the file can say so.

Besides patterns a set may hold keywords (text anywhere in the name) and expressions (objects whose
`search(name)` finds something or None), which lists such as geosite have. Invariant: the empty name
is in no set.
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

    __slots__ = (
        "_by_tail",
        "below",
        "expressions",
        "keywords",
        "names",
        "one",
        "suffixes",
        "wildcards",
    )

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
        """All other patterns, for `label_match`."""
        self._by_tail: dict[str, list[str]] = {}
        self.keywords: list[str] = []
        self.expressions: list[Expression] = []
        for pattern in patterns:
            self.add(pattern)

    def add(self, pattern: str) -> None:
        """Take one pattern more.

        Raises:
            ValueError: not a pattern.
        """
        text = pattern.lower()
        plain = text
        table = self.names
        for prefix, of_prefix in (("+.", self.suffixes), (".", self.below), ("*.", self.one)):
            if text.startswith(prefix):
                plain, table = text[len(prefix) :], of_prefix
                break
        _check(pattern, plain)
        if "*" in plain:
            self.wildcards.add(text)
            self._by_tail = {}
        else:
            table.add(plain)

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
        if self.wildcards and self._wildcard(host):
            return True
        return any(each.search(host) is not None for each in self.expressions)

    def _wildcard(self, host: str) -> bool:
        by_tail = self._by_tail
        if not by_tail:
            for pattern in self.wildcards:
                by_tail.setdefault(_tail(pattern), []).append(pattern)
        at = host.find(".")
        tail = ""
        while True:
            if tail in by_tail and any(label_match(each, host) for each in by_tail[tail]):
                return True
            if at < 0:
                return False
            tail = host[at + 1 :]
            at = host.find(".", at + 1)

    def __len__(self) -> int:
        """The number of entries."""
        tables = (self.names, self.suffixes, self.below, self.one, self.wildcards)
        return sum(map(len, tables)) + len(self.keywords) + len(self.expressions)


def label_match(pattern: str, host: str) -> bool:
    """Whether a pattern with `*` labels stands for the name, label by label."""
    wanted, labels = pattern.split("."), host.split(".")
    more = len(labels) - len(wanted)
    if wanted[0] == "+":
        # The label `+` may be of any number of labels, none too.
        wanted, more = wanted[1:], more + 1
        fits = more >= 0
    elif wanted[0]:
        fits = more == 0
    else:
        wanted, more = wanted[1:], more + 1
        fits = more > 0
    return fits and all(
        symbol in ("*", label) for symbol, label in zip(wanted, labels[more:], strict=True)
    )


def _tail(pattern: str) -> str:
    """The labels behind the last `*`."""
    return pattern.rpartition("*")[2][1:]


def _check(pattern: str, plain: str) -> None:
    """Raises: ValueError: not a pattern; `plain` is it without its prefix."""
    if ".." in f".{plain}.":
        raise ValueError(f"not a domain pattern: {pattern!r} (a label is empty)")
    if "*" in plain and any("*" in label and label != "*" for label in plain.split(".")):
        raise ValueError(f"not a domain pattern: {pattern!r} ('*' stands for a whole label)")
    if "+" in plain:
        raise ValueError(f"not a domain pattern: {pattern!r} ('+' stands alone, in front)")
    if not plain.isascii():
        raise ValueError(f"not a domain pattern: {pattern!r} (names are written in Punycode)")
    if " " in plain or "/" in plain or ":" in plain or not plain.isprintable():
        raise ValueError(f"not a domain pattern: {pattern!r} (blanks, '/' and ':' are in no name)")
