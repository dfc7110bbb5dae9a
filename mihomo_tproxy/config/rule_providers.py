"""`rule-providers`: wiki.metacubex.one/config/rule-providers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mihomo_tproxy.config.section import Section
    from mihomo_tproxy.config.specs.provider import RuleProviderSpec
    from mihomo_tproxy.rule.context import RuleSetContent


class RuleProviders:
    """The providers of a file; the content of each is read when a rule first names it."""

    def __init__(self) -> None:
        self.specs: tuple[RuleProviderSpec, ...] = ()

    def content(self, name: str) -> RuleSetContent:
        """What a provider brought. ValueError with a sentence for the user if there is none."""
        raise ValueError(f"there is no rule provider {name!r}")


def parse_rule_providers(section: Section) -> RuleProviders:
    """The rule providers of the top-level section; what is wrong is reported."""
    return RuleProviders()
