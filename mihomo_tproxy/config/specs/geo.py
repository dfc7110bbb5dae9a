"""The geo data settings: `geodata-mode`, `geox-url`, `geo-auto-update`, `geo-update-interval`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_RELEASE: Final = "https://github.com/MetaCubeX/meta-rules-dat/releases/download/latest/"


@dataclass(frozen=True, slots=True)
class GeoSpec:
    """Where geo data comes from. The URLs are mihomo's defaults."""

    dat_mode: bool = False
    """`geodata-mode`: GEOIP looks into geoip.dat instead of country.mmdb."""
    auto_update: bool = False
    interval_h: int = 24
    geoip_url: str = _RELEASE + "geoip.dat"
    geosite_url: str = _RELEASE + "geosite.dat"
    mmdb_url: str = _RELEASE + "geoip.metadb"
    asn_url: str = _RELEASE + "GeoLite2-ASN.mmdb"
    needed: tuple[str, ...] = ()
    """Files that the rules name: a part of ("geoip", "geosite", "mmdb", "asn")."""
    missing: tuple[str, ...] = ()
    """Those of them that were absent, or no such file, when the configuration was read."""

    def url(self, kind: str) -> str:
        """Where a file comes from, one of "geoip", "geosite", "mmdb", "asn"."""
        urls = {
            "geoip": self.geoip_url,
            "geosite": self.geosite_url,
            "mmdb": self.mmdb_url,
            "asn": self.asn_url,
        }
        return urls[kind]
