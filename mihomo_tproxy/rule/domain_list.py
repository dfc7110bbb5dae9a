"""Rules that hold many names at once: GEOSITE, and RULE-SET of the behavior `domain`.

The engine takes the names into its index; `match` is for whoever asks the rule alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.base import BaseRule

if TYPE_CHECKING:
    from mihomo_tproxy.matcher.domain_set import DomainSet
    from mihomo_tproxy.model.metadata import Metadata


class DomainListRule(BaseRule):
    """Matches a name that is in a set."""

    __slots__ = ("domains",)

    def __init__(self, kind: str, payload: str, target: str, domains: DomainSet) -> None:
        super().__init__(kind, payload, target, fields.DOMAIN)
        self.domains = domains

    def match(self, metadata: Metadata) -> bool:
        return metadata.host in self.domains
