"""`DOMAIN-SUFFIX`: this name and every name below it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.base import BaseRule
from mihomo_tproxy.rule.domain import ascii_name

if TYPE_CHECKING:
    from mihomo_tproxy.model.metadata import Metadata


class DomainSuffix(BaseRule):
    """Matches a name by its last labels, whole labels only."""

    __slots__ = ("suffix",)

    def __init__(self, kind: str, payload: str, target: str, options: frozenset[str]) -> None:
        super().__init__(kind, payload, target, fields.DOMAIN)
        self.suffix = ascii_name(payload)

    def match(self, metadata: Metadata) -> bool:
        host, suffix = metadata.host, self.suffix
        return host == suffix or (host.endswith(suffix) and host.endswith("." + suffix))
