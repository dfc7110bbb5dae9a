"""`DOMAIN-REGEX`: a name in which this expression is found. See `matcher.expressions`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.matcher.expressions import Expression
from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.base import BaseRule

if TYPE_CHECKING:
    from mihomo_tproxy.model.metadata import Metadata


class DomainRegex(BaseRule):
    """Matches a name by a regular expression, unanchored."""

    __slots__ = ("expression",)

    def __init__(self, kind: str, payload: str, target: str, options: frozenset[str]) -> None:
        super().__init__(kind, payload, target, fields.DOMAIN)
        self.expression = Expression(payload)

    def match(self, metadata: Metadata) -> bool:
        return self.expression.search(metadata.host) is not None
