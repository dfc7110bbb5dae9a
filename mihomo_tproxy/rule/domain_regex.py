"""`DOMAIN-REGEX`: a name in which this expression is found, letters of either case alike.

mihomo's dialect (.NET) and Python's agree on what domain lists use. The expression is the user's,
the name is the peer's: a name longer than DNS allows is not searched, so that the time a bad
expression takes is bounded by 255 characters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.base import BaseRule

if TYPE_CHECKING:
    from mihomo_tproxy.model.metadata import Metadata

MAX_PATTERN: Final = 1024
MAX_HOST: Final = 255


class DomainRegex(BaseRule):
    """Matches a name by a regular expression, unanchored."""

    __slots__ = ("_pattern",)

    def __init__(self, kind: str, payload: str, target: str, options: frozenset[str]) -> None:
        # Not needed by whoever has no such rule.
        import re

        super().__init__(kind, payload, target, fields.DOMAIN)
        if len(payload) > MAX_PATTERN:
            raise ValueError(f"expression of {len(payload)} characters, at most {MAX_PATTERN}")
        try:
            self._pattern = re.compile(payload, re.IGNORECASE)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"bad expression {payload!r}: {error}") from None

    def match(self, metadata: Metadata) -> bool:
        return len(metadata.host) <= MAX_HOST and self._pattern.search(metadata.host) is not None
