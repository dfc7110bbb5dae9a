"""Lines of a classical rule provider: rules without targets.

mihomo takes what follows the payload for options and ignores those it does not know (lists in the
wild carry targets there), so only the options that mean something are kept:

    IP-CIDR,192.0.2.0/24,no-resolve       DOMAIN,example.com,PROXY -> DOMAIN,example.com
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mihomo_tproxy.matcher.cidr_set import CidrSet
from mihomo_tproxy.matcher.domain_set import DomainSet
from mihomo_tproxy.rule.context import NoContext
from mihomo_tproxy.rule.registry import parse_rule

if TYPE_CHECKING:
    from mihomo_tproxy.rule.context import RuleContext

COMMAS_IN_PAYLOAD: Final = frozenset(
    {"AND", "DOMAIN-REGEX", "NOT", "OR", "PROCESS-NAME-REGEX", "PROCESS-PATH-REGEX"}
)
"""Kinds whose payload goes to the end of the line."""

_NOT_IN_A_LIST: Final = frozenset({"MATCH", "RULE-SET", "SUB-RULE"})
_ADDRESSES: Final = frozenset({"GEOIP", "IP-ASN", "IP-CIDR", "IP-CIDR6", "IP-SUFFIX"})
"""Kinds that look at the destination, and may look at the source instead."""
_TARGET: Final = "DIRECT"


class _AnyList(NoContext):
    """Geo lists of every name, all empty: whether they exist is found when the set is used."""

    def geosite(self, code: str) -> DomainSet:
        return DomainSet()

    def geoip(self, code: str) -> CidrSet:
        return CidrSet()

    def asn(self, number: int) -> CidrSet:
        return CidrSet()


_ANY_LIST: Final[RuleContext] = _AnyList()


def normal_line(line: str) -> str:
    """A rule without its target, checked, its kind in capitals and the options that count.

    Raises:
        ValueError: not a rule, or none that a list may have.
    """
    kind, comma, rest = line.partition(",")
    kind = kind.strip().upper()
    if not comma:
        raise ValueError("incomplete rule: it is written KIND,payload")
    if kind in _NOT_IN_A_LIST:
        raise ValueError(f"{kind} is not allowed in a rule provider")
    options = ""
    if kind in COMMAS_IN_PAYLOAD:
        payload = ",".join(part.strip() for part in rest.split(","))
    elif "," in rest:
        payload, *words = (part.strip() for part in rest.split(","))
        if kind in _ADDRESSES:
            options = "".join(f",{word}" for word in ("src", "no-resolve") if word in words)
    else:
        payload = rest.strip()
    # Raises for what is no rule.
    parse_rule(f"{kind},{payload},{_TARGET}{options}", _ANY_LIST)
    return f"{kind},{payload}{options}"
