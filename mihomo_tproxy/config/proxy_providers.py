"""`proxy-providers`: wiki.metacubex.one/config/proxy-providers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mihomo_tproxy.config.section import Section
    from mihomo_tproxy.config.specs.base import ProxySpec
    from mihomo_tproxy.config.specs.provider import ProxyProviderSpec


class ProxyProviders(NamedTuple):
    """The providers of a file and the proxies they brought."""

    specs: tuple[ProxyProviderSpec, ...] = ()
    proxies: tuple[ProxySpec, ...] = ()
    """Each under a name of its own."""


def parse_proxy_providers(section: Section, proxies: tuple[ProxySpec, ...]) -> ProxyProviders:
    """The proxy providers of the top-level section; what is wrong is reported."""
    return ProxyProviders()
