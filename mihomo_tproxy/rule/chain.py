"""The rules that can decide anything, each with what a decision there has depended on so far.

A rule list is expanded first: a classical rule set is its rules, one after the other. Fields that
are the same for every flow of some kind (`constant`: a flow that the kernel steered has no listener
to tell apart, and no name while nothing names it) are depended on by nobody; a rule that looks at
nothing else is left out, or ends the list.

A rule whose target may turn out to be unusable (`conditional`: a proxy without UDP, a group, PASS)
is passed over then, so it ends nothing; that it was not, and what comes after it, depends on the
network as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mihomo_tproxy.model import fields
from mihomo_tproxy.model.enums import InboundType, Network
from mihomo_tproxy.model.metadata import Metadata
from mihomo_tproxy.rule.rule_set import ClassicalSet

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from mihomo_tproxy.model.interfaces import Rule


class Link(NamedTuple):
    """One rule in its place."""

    rule: Rule
    depends: int
    """The fields that this rule and all before it look at."""
    always: bool
    """The rule matches every flow, and its target can be used: nothing comes after it."""
    line: int
    """Its place in the list before the expansion."""


def steered_constants(*, names_observed: bool, local: bool = True) -> int:
    """The fields in which flows that the kernel steers to us cannot differ.

    `local`: also flows of this host are steered, whose programs are known.
    """
    constant = fields.INBOUND if names_observed else fields.INBOUND | fields.DOMAIN
    return constant if local else constant | fields.PROCESS | fields.UID


def expanded(rules: Iterable[Rule]) -> Iterator[tuple[int, Rule]]:
    """Every single rule, with its place in the list."""
    for line, rule in enumerate(rules):
        if isinstance(rule, ClassicalSet):
            for _, inner in expanded(rule.rules):
                yield line, inner
        else:
            yield line, rule


def chain(
    rules: Iterable[Rule], constant: int = 0, conditional: Collection[str] = ()
) -> Iterator[Link]:
    """The rules in order, up to the first that decides always."""
    conditional = frozenset(conditional)
    depends = 0
    for line, rule in expanded(rules):
        looks_at = rule.fields & ~constant
        if not looks_at and not rule.match(_STEERED):
            continue
        depends |= looks_at
        passable = not conditional.isdisjoint(rule.targets())
        if passable:
            depends |= fields.NETWORK
        always = not looks_at and not passable
        yield Link(rule, depends, always, line)
        if always:
            return


def all_depends(links: Sequence[Link]) -> list[int]:
    """What a decision by each link has depended on, then what one by none of them has."""
    last = links[-1].depends if links and not links[-1].always else 0
    return [*(link.depends for link in links), last]


_STEERED = Metadata(Network.TCP, InboundType.TPROXY, "::", 0, "::", 0)
