"""Groups of a file, with providers whose proxies the test names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.config.groups import parse_groups
from mihomo_tproxy.config.proxies import parse_proxies
from mihomo_tproxy.config.proxy_providers import ProxyProviders
from mihomo_tproxy.config.report import Report
from mihomo_tproxy.config.section import Section
from mihomo_tproxy.config.specs.base import ProxySpec
from mihomo_tproxy.config.specs.provider import HealthCheckSpec, ProxyProviderSpec, Vehicle
from mihomo_tproxy.config.yaml import load_text

if TYPE_CHECKING:
    from mihomo_tproxy.config.specs.group import GroupSpec

PROXIES = """
proxies:
  - {name: hk-1, type: http, server: 127.0.0.1, port: 1}
  - {name: us-1, type: socks5, server: 127.0.0.1, port: 1, udp: true}
  - {name: Hk-2, type: ss, server: 127.0.0.1, port: 1, cipher: aes-128-gcm, password: x, udp: true}
  - {name: alpha, type: direct}
"""

PROVIDERS = ProxyProviders(
    (
        ProxyProviderSpec(
            "zeta",
            Vehicle.INLINE,
            members=("p-us", "p-hk"),
            health_check=HealthCheckSpec("http://prov.test/"),
        ),
        ProxyProviderSpec("beta", Vehicle.INLINE, members=("q-hk", "q-us")),
    ),
    (
        ProxySpec("p-us", "http"),
        ProxySpec("p-hk", "socks5"),
        ProxySpec("q-hk", "http"),
        ProxySpec("q-us", "socks5"),
    ),
)


def parsed(
    text: str, proxies: str = PROXIES, providers: ProxyProviders = PROVIDERS
) -> tuple[tuple[GroupSpec, ...], Report]:
    """The groups of a file, and what was said about it."""
    document = load_text(f"{proxies}\nproxy-groups:\n{text}")
    report = Report(document)
    section = Section(report, "", document.value)
    return parse_groups(section, parse_proxies(section).kept, providers), report
