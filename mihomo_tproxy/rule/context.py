"""What a rule may need to become complete: lists that stand elsewhere.

Each method raises ValueError with a sentence for the user when there is no such thing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from mihomo_tproxy.matcher.cidr_set import CidrSet
    from mihomo_tproxy.matcher.domain_set import DomainSet
    from mihomo_tproxy.model.interfaces import Rule


class RuleSetContent(NamedTuple):
    """What a rule provider brought; one of the three, by its behavior. All None: nothing yet."""

    domains: DomainSet | None = None
    ranges: CidrSet | None = None
    lines: tuple[str, ...] | None = None
    """Rules without targets, each found to be one: `DOMAIN,example.com`."""


class RuleContext(Protocol):
    """Where rules find their lists."""

    def geosite(self, code: str) -> DomainSet:
        """The names of a list: `cn`, `google@ads`."""

    def geoip(self, code: str) -> CidrSet:
        """The addresses of a country or list: `CN`, `telegram`."""

    def asn(self, number: int) -> CidrSet:
        """The addresses of an autonomous system."""

    def rule_set(self, name: str) -> RuleSetContent:
        """The content of a rule provider."""

    def sub_rules(self, name: str) -> tuple[Rule, ...]:
        """A list of `sub-rules`."""


class NoContext:
    """Nothing stands elsewhere."""

    def geosite(self, code: str) -> DomainSet:
        raise ValueError(f"no geosite data for {code!r}")

    def geoip(self, code: str) -> CidrSet:
        raise ValueError(f"no geoip data for {code!r}")

    def asn(self, number: int) -> CidrSet:
        raise ValueError(f"no ASN data for {number}")

    def rule_set(self, name: str) -> RuleSetContent:
        raise ValueError(f"there is no rule provider {name!r}")

    def sub_rules(self, name: str) -> tuple[Rule, ...]:
        raise ValueError(f"there are no sub-rules {name!r}")
