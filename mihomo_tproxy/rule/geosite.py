"""`GEOSITE`: a name in a list of `geosite.dat`, `cn` or with an attribute `google@ads`.

`GEOSITE,!cn` is every name that is not in the list. A flow without a name is in neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.base import BaseRule
from mihomo_tproxy.rule.domain_list import DomainListRule

if TYPE_CHECKING:
    from mihomo_tproxy.matcher.domain_set import DomainSet
    from mihomo_tproxy.model.interfaces import Rule
    from mihomo_tproxy.model.metadata import Metadata
    from mihomo_tproxy.rule.context import RuleContext


class NotInDomainList(BaseRule):
    """Matches a name that is not in a set."""

    __slots__ = ("domains",)

    def __init__(self, kind: str, payload: str, target: str, domains: DomainSet) -> None:
        super().__init__(kind, payload, target, fields.DOMAIN)
        self.domains = domains

    def match(self, metadata: Metadata) -> bool:
        host = metadata.host
        return bool(host) and host not in self.domains


def geosite(
    kind: str, payload: str, target: str, options: frozenset[str], context: RuleContext
) -> Rule:
    """Raises: ValueError: there is no such list."""
    code = payload.lower()
    if code.startswith("!"):
        return NotInDomainList(kind, payload, target, context.geosite(code[1:]))
    return DomainListRule(kind, payload, target, context.geosite(code))
