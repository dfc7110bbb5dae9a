"""The geo data of one configuration: files opened when a rule first names a list of theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mihomo_tproxy.config.specs.geo import GeoSpec
    from mihomo_tproxy.matcher.cidr_set import CidrSet
    from mihomo_tproxy.matcher.domain_set import DomainSet


class GeoData:
    """Lists by name. Errors are ValueErrors with a sentence for the user."""

    def __init__(self, home: str, spec: GeoSpec) -> None:
        self._home = home
        self._spec = spec
        self.needed: set[str] = set()
        """Files that were asked for: of "geoip", "geosite", "mmdb", "asn"."""

    def geosite(self, code: str) -> DomainSet:
        """The names of a list: `cn`, `google@ads`."""
        raise ValueError(f"no geosite data for {code!r}")

    def geoip(self, code: str) -> CidrSet:
        """The addresses of a country or list."""
        raise ValueError(f"no geoip data for {code!r}")

    def asn(self, number: int) -> CidrSet:
        """The addresses of an autonomous system."""
        raise ValueError(f"no ASN data for {number}")
