"""`filter` and `exclude-filter` of groups: expressions over names, backticks between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.provider.name_pattern import parse_alternatives

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class NameFilter:
    """The expressions of one filter."""

    def __init__(self, text: str) -> None:
        """Compile the alternatives; "" has none.

        Raises:
            ValueError: one is no expression, or no safe one.
        """
        self.patterns = parse_alternatives(text)

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def matches(self, name: str) -> bool:
        """Whether any expression is found in a name."""
        return any(pattern.search(name) for pattern in self.patterns)

    def count(self, name: str) -> int:
        """How many of the expressions are found in a name."""
        return sum(pattern.search(name) for pattern in self.patterns)

    def sort(self, names: Iterable[str]) -> Iterator[str]:
        """The names that match, each once, in the order of the expressions, then in their own."""
        left = dict.fromkeys(names)
        for pattern in self.patterns:
            found = [name for name in left if pattern.search(name)]
            for name in found:
                del left[name]
            yield from found
