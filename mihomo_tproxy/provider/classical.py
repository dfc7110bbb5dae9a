"""Lines of a classical rule provider: rules without targets.

mihomo takes what follows the payload for options and passes over those it does not know (lists in
the wild carry targets there), and so does `rule.registry.parse_condition`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mihomo_tproxy.matcher.cidr_set import CidrSet
from mihomo_tproxy.matcher.domain_set import DomainSet
from mihomo_tproxy.rule.context import NoContext, RuleSetContent
from mihomo_tproxy.rule.notation import COMMAS_IN_PAYLOAD
from mihomo_tproxy.rule.registry import KNOWN, parse_condition

if TYPE_CHECKING:
    from mihomo_tproxy.rule.context import RuleContext

MAX_EXPRESSIONS: Final = 4 << 20
"""Characters of expressions and logic in one provider: they are slow to read, some 1 us each."""
MAX_RULES: Final = 1_000_000
"""Rules of one provider: each costs some 4 us and 300 bytes while a configuration is read."""
EXPRESSION: Final = 100
"""What one of them costs beside its characters, in characters."""

_TARGET: Final = "DIRECT"


class _AnyList(NoContext):
    """Lists of every name, all empty: whether they exist is found when the set is used."""

    def geosite(self, code: str) -> DomainSet:
        return DomainSet()

    def geoip(self, code: str) -> CidrSet:
        return CidrSet()

    def asn(self, number: int) -> CidrSet:
        return CidrSet()

    def rule_set(self, name: str) -> RuleSetContent:
        return RuleSetContent()


_ANY_LIST: Final[RuleContext] = _AnyList()


class ClassicalReader:
    """Reads the lines of one provider."""

    def __init__(self) -> None:
        self._spent = 0
        self._taken = 0

    def check(self, line: str) -> None:
        """Find out whether a line is a rule that a list may have.

        Raises:
            ValueError: it is not, or is a rule too many.
        """
        if self._taken >= MAX_RULES:
            raise ValueError(f"more than {MAX_RULES} rules")
        kind, comma, _ = line.partition(",")
        kind = kind.strip().upper()
        if not comma:
            raise ValueError("incomplete rule: it is written KIND,payload")
        if kind not in KNOWN:
            # The parser would look for a similar word, which takes its time.
            raise ValueError(f"unknown rule kind {kind!r}")
        if kind in COMMAS_IN_PAYLOAD:
            self._spent += len(line) + EXPRESSION
            if self._spent > MAX_EXPRESSIONS:
                raise ValueError("too many expressions")
        parse_condition(line, _TARGET, _ANY_LIST)
        self._taken += 1
