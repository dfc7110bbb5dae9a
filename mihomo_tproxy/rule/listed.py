"""What is in a list of names besides names, one by one: for the engine to ask when a clue fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mihomo_tproxy.matcher.domain_set import label_match

if TYPE_CHECKING:
    from mihomo_tproxy.matcher.domain_set import Expression
    from mihomo_tproxy.model.metadata import Metadata


class Candidate(Protocol):
    """Something that a flow may be asked about."""

    def match(self, metadata: Metadata) -> bool:
        """Whether it is so."""


class ListedExpression:
    """One expression of a list of names."""

    __slots__ = ("_expression",)

    def __init__(self, expression: Expression) -> None:
        self._expression = expression

    def match(self, metadata: Metadata) -> bool:
        """Whether it is found in the name."""
        return self._expression.search(metadata.host) is not None


class ListedPattern:
    """One pattern of a list of names, with `*` labels."""

    __slots__ = ("_pattern",)

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern

    def match(self, metadata: Metadata) -> bool:
        """Whether it stands for the name."""
        return label_match(self._pattern, metadata.host)
