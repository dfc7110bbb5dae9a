"""`DOMAIN-KEYWORD`: a name that has this text anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.base import BaseRule
from mihomo_tproxy.rule.domain import ascii_name

if TYPE_CHECKING:
    from mihomo_tproxy.model.metadata import Metadata


class DomainKeyword(BaseRule):
    """Matches a name by a part of it, across labels."""

    __slots__ = ("keyword",)

    def __init__(self, kind: str, payload: str, target: str, options: frozenset[str]) -> None:
        super().__init__(kind, payload, target, fields.DOMAIN)
        self.keyword = ascii_name(payload)

    def match(self, metadata: Metadata) -> bool:
        return self.keyword in metadata.host
