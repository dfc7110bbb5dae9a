"""Where the rules of a file find what stands elsewhere in it, or in files beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mihomo_tproxy.config.rule_providers import RuleProviders
    from mihomo_tproxy.geo.data import GeoData
    from mihomo_tproxy.model.interfaces import Rule


class Context:
    """`rule.context.RuleContext` of one file."""

    def __init__(self, geo: GeoData, providers: RuleProviders) -> None:
        self.geosite = geo.geosite
        self.geoip = geo.geoip
        self.asn = geo.asn
        self.rule_set = providers.content
        self.lists: dict[str, tuple[Rule, ...]] = {}
        """`sub-rules` that are parsed already."""

    def sub_rules(self, name: str) -> tuple[Rule, ...]:
        """A list of `sub-rules`. ValueError if there is none of this name."""
        found = self.lists.get(name)
        if found is None:
            raise ValueError(f"there are no sub-rules {name!r}")
        return found
