"""`SUB-RULE,(condition),list`: where the condition holds, the rules of a list of `sub-rules`.

When none of the list matches, the rule after this one is asked. A rule of the list whose target is
PASS-RULE is passed over, and the list goes on; one whose target is PASS ends the list, and the rule
after this one is asked (both observed with mihomo 1.19.32; PASS is the tunnel's business).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mihomo_tproxy.rule.base import BaseRule

if TYPE_CHECKING:
    from mihomo_tproxy.model.interfaces import Rule
    from mihomo_tproxy.model.metadata import Metadata

PASS_RULE: Final = "PASS-RULE"  # noqa: S105 - an outbound


class SubRule(BaseRule):
    """Asks a list. Its `target` is the name of the list, not of an outbound."""

    __slots__ = ("_targets", "condition", "resolves", "rules", "weight")

    def __init__(
        self, kind: str, payload: str, target: str, condition: Rule, rules: tuple[Rule, ...]
    ) -> None:
        looks_at = condition.fields
        for rule in rules:
            looks_at |= rule.fields
        super().__init__(kind, payload, target, looks_at)
        self.condition = condition
        self.rules = rules
        self.weight = 1 + condition.weight + sum(rule.weight for rule in rules)
        # Once, for lists may stand in many lists.
        found = dict.fromkeys(name for rule in rules for name in rule.targets())
        self._targets = tuple(name for name in found if name != PASS_RULE)
        self.resolves = condition.resolves or any(rule.resolves for rule in rules)

    def match(self, metadata: Metadata) -> bool:
        return bool(self.decide(metadata))

    def decide(self, metadata: Metadata) -> str:
        if self.condition.match(metadata):
            for rule in self.rules:
                target = rule.decide(metadata)
                if target and target != PASS_RULE:
                    return target
        return ""

    def targets(self) -> tuple[str, ...]:
        return self._targets
