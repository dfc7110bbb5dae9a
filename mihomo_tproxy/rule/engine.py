"""The rule engine: which outbound a flow takes, and what that followed from.

Proof obligation. The kernel caches a decision under the values of the fields `Decision.depends`,
and answers for every later flow that has the same values; it must never answer otherwise than this
engine would. It cannot, because
1. a rule's `match` reads nothing but the fields it names in `fields` (each rule kind's duty);
2. `depends` of the decision by rule i is the union of the `fields` of rules 0..i, those that did
   not match included; of "no rule matched" it is the union over all rules;
3. so two flows that agree in these fields get the same answer from each of the rules 0..i: none
   before i matches, i does, and the decision is the same.
An unknown destination address counts as a value of its own. With `names_observed=False` every flow
has an empty host, the field `DOMAIN` is constant, and is left out (`rule.chain`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mihomo_tproxy.model.enums import TunnelMode
from mihomo_tproxy.model.metadata import Decision
from mihomo_tproxy.rule.chain import chain
from mihomo_tproxy.rule.index import build_indexes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mihomo_tproxy.model.interfaces import Rule
    from mihomo_tproxy.model.metadata import Metadata

_MODE_TARGETS: Final = {TunnelMode.DIRECT: "DIRECT", TunnelMode.GLOBAL: "GLOBAL"}


class Engine:
    """Decides flows by the first rule that matches, in file order; without one, DIRECT.

    Args:
        rules: in file order.
        mode: `direct` and `global` send everything to DIRECT or GLOBAL and ask no rule.
        names_observed: whether a flow's `host` can ever be known. False promises that it is
            always empty, which makes decisions depend on less.
    """

    __slots__ = ("_decisions", "_indexes", "_otherwise")

    def __init__(
        self, rules: Iterable[Rule], mode: TunnelMode, *, names_observed: bool = True
    ) -> None:
        links = [] if mode in _MODE_TARGETS else list(chain(rules, names_observed=names_observed))
        fallback = Decision(_MODE_TARGETS.get(mode, "DIRECT"), None, 0)
        if links and not links[-1].always:
            fallback = fallback._replace(depends=links[-1].depends)
        ranked = [link.rule for link in links if not link.always]
        self._indexes = build_indexes(ranked)
        self._decisions = [Decision(rule.target, rule, depends) for rule, depends, _ in links]
        self._decisions.append(fallback)
        self._otherwise = len(ranked)

    def match(self, metadata: Metadata) -> Decision:
        """The decision for a flow. Pure; allocates nothing but the address keys."""
        best = self._otherwise
        for index in self._indexes:
            if index.lowest >= best:
                break
            rank = index.first(metadata, best)
            if rank < best:
                best = rank
        return self._decisions[best]
