"""`geodata-mode`, `geox-url`, `geo-auto-update`, `geo-update-interval`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.config.specs.geo import GeoSpec

if TYPE_CHECKING:
    from mihomo_tproxy.config.section import Section


def parse_geo(section: Section) -> GeoSpec:
    """The geo settings of the top-level section."""
    return GeoSpec()
