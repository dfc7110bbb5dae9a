"""What a name must have for a rule to match: so that the engine asks few of many such rules.

A clue is a domain (the name is it, or is below it) or a part (it stands anywhere in the name).
Invariants: a rule that has a clue matches no flow whose name does not have it, nor one without a
name; it answers alike whenever it is asked, so it looks at no destination address, which may become
known on the way. Only for where rules are compiled: it takes expressions apart.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from mihomo_tproxy.matcher.backtracking import literal_part, literal_tail
from mihomo_tproxy.matcher.domain_set import DomainSet
from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.domain import Domain
from mihomo_tproxy.rule.domain_keyword import DomainKeyword
from mihomo_tproxy.rule.domain_regex import DomainRegex
from mihomo_tproxy.rule.domain_suffix import DomainSuffix
from mihomo_tproxy.rule.domain_wildcard import DomainWildcard
from mihomo_tproxy.rule.listed import ListedExpression, ListedPattern
from mihomo_tproxy.rule.logic import And

if TYPE_CHECKING:
    from mihomo_tproxy.model.interfaces import Rule
    from mihomo_tproxy.rule.listed import Candidate

_ANY: Final = re.compile(r"[*?]+")


class Clue(NamedTuple):
    """One of the two, the other is ""."""

    domain: str
    part: str


def clue_of(rule: Rule) -> Clue | None:
    """What the name must have; None when that cannot be told."""
    if isinstance(rule, Domain):
        return _clue(rule.domain)
    if isinstance(rule, DomainSuffix):
        return _clue(rule.suffix)
    if isinstance(rule, DomainKeyword):
        return _clue(part=rule.keyword)
    if isinstance(rule, DomainRegex):
        return _of_expression(rule.expression.pattern)
    if isinstance(rule, DomainWildcard):
        return _of_pieces(_ANY.split(rule.pattern))
    if isinstance(rule, And) and not (rule.resolves or rule.fields & fields.DST_ADDR):
        found = [each for each in map(clue_of, rule.conditions) if each]
        return max(found, key=lambda each: len(each.domain)) if found else None
    return None


def take_apart(domains: DomainSet) -> tuple[list[tuple[Clue, Candidate]], DomainSet]:
    """The expressions and wildcards of a set: those that have a clue, and a set of the others."""
    clued: list[tuple[Clue, Candidate]] = []
    rest = DomainSet()
    for expression in domains.expressions:
        clue = _of_expression(expression.pattern)
        if clue:
            clued.append((clue, ListedExpression(expression)))
        else:
            rest.expressions.append(expression)
    for pattern in sorted(domains.wildcards):
        clue = _of_pieces(pattern.removeprefix("+").split("*"))
        if clue:
            clued.append((clue, ListedPattern(pattern)))
        else:
            rest.wildcards.add(pattern)
    return clued, rest


def _clue(domain: str = "", part: str = "") -> Clue | None:
    return Clue(domain, "" if domain else part) if domain or part else None


def _of_expression(pattern: str) -> Clue | None:
    return _clue(literal_tail(pattern), literal_part(pattern))


def _of_pieces(pieces: list[str]) -> Clue | None:
    """Of a text in pieces, any text between them; dots at their ends may be missing in the name."""
    if len(pieces) == 1:
        return _clue(pieces[0])
    part = max((piece.strip(".") for piece in pieces), key=len)
    return _clue(pieces[-1].partition(".")[2], part)
