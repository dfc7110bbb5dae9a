"""The rules that can decide anything, each with what a decision there has depended on so far.

While names are not observed every flow's host is empty, so a domain rule is a constant: one that
does not match the empty name is left out, one that does (`DOMAIN-WILDCARD,*`) ends the list. A rule
that looks at nothing ends the list as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mihomo_tproxy.model import fields
from mihomo_tproxy.model.enums import InboundType, Network
from mihomo_tproxy.model.metadata import Metadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mihomo_tproxy.model.interfaces import Rule


class Link(NamedTuple):
    """One rule in its place."""

    rule: Rule
    depends: int
    """The fields that this rule and all before it look at."""
    always: bool
    """The rule matches every flow: nothing comes after it."""


def chain(rules: Iterable[Rule], *, names_observed: bool) -> Iterator[Link]:
    """The rules in order, up to the first that matches always."""
    depends = 0
    for rule in rules:
        looks_at = rule.fields
        if looks_at == fields.DOMAIN and not names_observed:
            if not rule.match(_NAMELESS):
                continue
            looks_at = 0
        depends |= looks_at
        yield Link(rule, depends, looks_at == 0)
        if looks_at == 0:
            return


_NAMELESS = Metadata(Network.TCP, InboundType.TPROXY, "::", 0, "::", 0)
