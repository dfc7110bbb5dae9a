"""`proxy-groups`: wiki.metacubex.one/config/proxy-groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mihomo_tproxy.config.proxy_providers import ProxyProviders
    from mihomo_tproxy.config.section import Section
    from mihomo_tproxy.config.specs.base import ProxySpec
    from mihomo_tproxy.config.specs.group import GroupSpec


def parse_groups(
    section: Section, proxies: tuple[ProxySpec, ...], providers: ProxyProviders
) -> tuple[GroupSpec, ...]:
    """The groups of the top-level section, and GLOBAL; what is wrong is reported."""
    return ()
