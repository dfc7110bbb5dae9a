"""`AND`, `OR` and `NOT`: conditions in parentheses, `AND,((NETWORK,udp),(DST-PORT,443)),target`.

Conditions are asked in the order written and no further than needed, as in mihomo: an address rule
that is reached inside may resolve, one that is not reached does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.rule.base import BaseRule

if TYPE_CHECKING:
    from mihomo_tproxy.model.interfaces import Rule
    from mihomo_tproxy.model.metadata import Metadata


class Logic(BaseRule):
    """What the three share."""

    __slots__ = ("conditions", "resolves", "weight")

    def __init__(self, kind: str, payload: str, target: str, conditions: tuple[Rule, ...]) -> None:
        looks_at = 0
        for condition in conditions:
            looks_at |= condition.fields
        super().__init__(kind, payload, target, looks_at)
        self.conditions = conditions
        self.weight = 1 + sum(condition.weight for condition in conditions)
        self.resolves = any(condition.resolves for condition in conditions)


class And(Logic):
    """Matches when every condition does."""

    __slots__ = ()

    def match(self, metadata: Metadata) -> bool:
        # Of many such rules each is asked: all() with a generator takes twice the time.
        for condition in self.conditions:  # noqa: SIM110
            if not condition.match(metadata):
                return False
        return True


class Or(Logic):
    """Matches when a condition does."""

    __slots__ = ()

    def match(self, metadata: Metadata) -> bool:
        for condition in self.conditions:  # noqa: SIM110 - see And
            if condition.match(metadata):
                return True
        return False


class Not(Logic):
    """Matches when its one condition does not."""

    __slots__ = ()

    def __init__(self, kind: str, payload: str, target: str, conditions: tuple[Rule, ...]) -> None:
        """Raises: ValueError: more than one condition."""
        if len(conditions) != 1:
            raise ValueError(f"NOT has one condition, found {len(conditions)}")
        super().__init__(kind, payload, target, conditions)

    def match(self, metadata: Metadata) -> bool:
        return not self.conditions[0].match(metadata)
