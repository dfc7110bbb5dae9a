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
from mihomo_tproxy.rule.registry import KINDS, parse_rule

if TYPE_CHECKING:
    from mihomo_tproxy.rule.context import RuleContext

COMMAS_IN_PAYLOAD: Final = frozenset(
    {"AND", "DOMAIN-REGEX", "NOT", "OR", "PROCESS-NAME-REGEX", "PROCESS-PATH-REGEX"}
)
"""Kinds whose payload goes to the end of the line: expressions, slow to read."""
MAX_COSTLY: Final = 1 << 20
"""Characters of expressions in one provider."""

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


class ClassicalReader:
    """Reads the lines of one provider."""

    def __init__(self) -> None:
        self._costly = 0

    def read(self, line: str) -> str:
        """A rule without its target, checked, its kind in capitals and the options that count.

        Raises:
            ValueError: not a rule, or none that a list may have, or one too many.
        """
        kind, comma, rest = line.partition(",")
        kind = kind.strip().upper()
        if not comma:
            raise ValueError("incomplete rule: it is written KIND,payload")
        if kind in _NOT_IN_A_LIST:
            raise ValueError(f"{kind} is not allowed in a rule provider")
        if kind not in KINDS:
            # The general message looks for a similar word, which is slow.
            raise ValueError(f"unknown rule kind {kind!r}")
        payload, options = _payload_and_options(kind, rest)
        if kind in COMMAS_IN_PAYLOAD:
            self._costly += len(payload)
            if self._costly > MAX_COSTLY:
                raise ValueError("too many expressions")
        # Raises for what is no rule.
        parse_rule(f"{kind},{payload},{_TARGET}{options}", _ANY_LIST)
        return f"{kind},{payload}{options}"


def _payload_and_options(kind: str, rest: str) -> tuple[str, str]:
    if kind in COMMAS_IN_PAYLOAD:
        return ",".join(part.strip() for part in rest.split(",")), ""
    if "," not in rest:
        return rest.strip(), ""
    payload, *words = (part.strip() for part in rest.split(","))
    if kind not in _ADDRESSES:
        return payload, ""
    return payload, "".join(f",{word}" for word in ("src", "no-resolve") if word in words)
