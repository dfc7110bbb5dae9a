"""`DOMAIN-WILDCARD`: a name by a pattern; `*` is any text, dots too, `?` is any one character.

The pattern is matched piece by piece, each piece at its earliest place: that is enough for
patterns of this kind, and takes at most pattern times name steps, whatever the peer sends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.base import BaseRule
from mihomo_tproxy.rule.domain import ascii_name

if TYPE_CHECKING:
    from mihomo_tproxy.model.metadata import Metadata


class DomainWildcard(BaseRule):
    """Matches the whole name."""

    __slots__ = ("pattern",)

    def __init__(self, kind: str, payload: str, target: str, options: frozenset[str]) -> None:
        super().__init__(kind, payload, target, fields.DOMAIN)
        self.pattern = ascii_name(payload)

    def match(self, metadata: Metadata) -> bool:
        return wildcard_match(self.pattern, metadata.host)


def wildcard_match(pattern: str, text: str) -> bool:
    """Whether the pattern stands for the whole text."""
    place = at = 0
    star, resume = -1, 0
    while at < len(text):
        symbol = pattern[place] if place < len(pattern) else ""
        if symbol == "*":
            star, resume = place, at
            place += 1
        elif symbol and symbol in ("?", text[at]):
            place += 1
            at += 1
        elif star >= 0:
            # The last star takes one character more; earlier stars never need to.
            resume += 1
            place, at = star + 1, resume
        else:
            return False
    return all(symbol == "*" for symbol in pattern[place:])
