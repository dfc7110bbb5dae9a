"""`RULE-SET`: the content of a rule provider, by its behavior.

    domain     names: a `DomainListRule`
    ipcidr     ranges: an `AddressRule`
    classical  rules: a `ClassicalSet`, which the engine expands at its place

A set with no content yet matches nothing. `src` exchanges source and destination for everything
inside, addresses and ports, and `no-resolve` is everything's inside, as in mihomo.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.rule.base import BaseRule

if TYPE_CHECKING:
    from mihomo_tproxy.model.interfaces import Rule
    from mihomo_tproxy.model.metadata import Metadata


class ClassicalSet(BaseRule):
    """Matches when one of its rules does; each has the target of the set."""

    __slots__ = ("resolves", "rules", "weight")

    def __init__(self, kind: str, payload: str, target: str, rules: tuple[Rule, ...]) -> None:
        looks_at = 0
        for rule in rules:
            looks_at |= rule.fields
        super().__init__(kind, payload, target, looks_at)
        self.rules = rules
        self.weight = 1 + sum(rule.weight for rule in rules)
        self.resolves = any(rule.resolves for rule in rules)

    def match(self, metadata: Metadata) -> bool:
        return any(rule.match(metadata) for rule in self.rules)
