"""How many rules, flows and equal decisions of each kind, as printed at the end of a run."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from support.differential.random_rules import ADDRESS_KINDS, BROAD_KINDS, NAME_KINDS, PORT_KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.differential.compare import Compared
    from support.differential.rule_file import RuleFile

KINDS: Final = (
    *(*NAME_KINDS, *ADDRESS_KINDS, *PORT_KINDS, *BROAD_KINDS),
    *("RULE-SET", "SUB-RULE", "AND", "OR", "MATCH"),
)
NO_RULE: Final = "(no rule)"


class Table:
    """Counts by kind over all files of a run."""

    def __init__(self) -> None:
        self.files = 0
        self.rules: Counter[str] = Counter()
        self.decided: Counter[str] = Counter()
        """Flows by the kind of the rule that decided them in mihomo."""
        self._equal: Counter[str] = Counter()

    def add(self, file: RuleFile, compared: Sequence[Compared]) -> None:
        """Counts a file in."""
        self.files += 1
        self.rules.update(rule.partition(",")[0] for rule in file.rules)
        for each in compared:
            number = min(each.decided.rules, default=None)
            kind = NO_RULE if number is None else file.rules[number].partition(",")[0]
            self.decided[kind] += 1
            self._equal[kind] += each.equal

    def lines(self) -> Iterator[str]:
        """The table."""
        yield f"{'':14}  rules  flows decided  equal"
        for kind in (*KINDS, NO_RULE):
            yield (
                f"{kind:14}  {self.rules[kind]:5}  {self.decided[kind]:13}  {self._equal[kind]:5}"
            )
        yield f"{'':14}  {self.rules.total():5}  {self.decided.total():13}  {self._equal.total():5}"


TABLE: Final = Table()
"""Of this run."""
