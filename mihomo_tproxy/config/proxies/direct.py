"""`type: direct` and `type: reject`: nothing but what every entry has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mihomo_tproxy.config.specs.base import ProxySpec

if TYPE_CHECKING:
    from mihomo_tproxy.config.section import Section


def parse(section: Section, common: dict[str, Any]) -> ProxySpec:
    """The entry; a dialer of its own would make no sense of it."""
    if common["dialer_proxy"]:
        section.problem("dialer-proxy", f"a {common['type']} entry dials by itself")
        common["dialer_proxy"] = ""
    if common["tfo"]:  # what goes through here may wait for the server's first word
        section.report.warning(section.path, "ignored: tfo")
        common["tfo"] = False
    return ProxySpec(**common)
