"""The geo data of one configuration: files opened when a rule first names a list of theirs.

A file that is absent, or no such file at all, makes its lists empty and says so in one warning: the
keeper downloads it, as mihomo does before it starts, and the configuration is compiled again. What
a present file does not have is an error where mihomo has one (the .dat files), and a warning where
mihomo lets the rule match nothing (the databases).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from mihomo_tproxy.config.report import did_you_mean
from mihomo_tproxy.geo.files import locate, read_whole
from mihomo_tproxy.matcher.cidr_set import CidrSet
from mihomo_tproxy.matcher.domain_set import DomainSet

if TYPE_CHECKING:
    from collections.abc import Callable

    from mihomo_tproxy.config.specs.geo import GeoSpec
    from mihomo_tproxy.geo.dat import DatFile
    from mihomo_tproxy.geo.mmdb import Database

T = TypeVar("T")


class GeoData:
    """Lists by name, each read once. Errors are ValueErrors with a sentence for the user."""

    def __init__(self, home: str, spec: GeoSpec) -> None:
        self._home = home
        self._dat_mode = spec.dat_mode
        self._sites: dict[str, DomainSet] = {}
        self._ranges: dict[tuple[str, str], CidrSet] = {}
        self._dats: dict[str, DatFile] = {}
        self._databases: dict[str, Database] = {}
        self.needed: set[str] = set()
        """Files that were asked for: of "geoip", "geosite", "mmdb", "asn"."""
        self.missing: set[str] = set()
        """Those of them that are absent or cannot be used."""
        self.warnings: list[str] = []

    def completed(self, spec: GeoSpec) -> GeoSpec:
        """The settings with the files that were asked for."""
        needed, missing = tuple(sorted(self.needed)), tuple(sorted(self.missing))
        return replace(spec, needed=needed, missing=missing)

    def geosite(self, code: str) -> DomainSet:
        """The names of a list: `cn`, `google@ads`."""
        self.needed.add("geosite")
        key = code.strip().lower()
        if key not in self._sites:
            self._sites[key] = self._read_sites(key)
        return self._sites[key]

    def geoip(self, code: str) -> CidrSet:
        """The addresses of a country or list; with `geodata-mode` all others too: `!cn`."""
        return self._once("geoip" if self._dat_mode else "mmdb", code.strip().lower())

    def asn(self, number: int) -> CidrSet:
        """The addresses of an autonomous system."""
        return self._once("asn", str(number))

    def _once(self, kind: str, code: str) -> CidrSet:
        self.needed.add(kind)
        if (kind, code) not in self._ranges:
            read = self._read_dat(code) if kind == "geoip" else self._read_database(kind, code)
            self._ranges[kind, code] = read
        return self._ranges[kind, code]

    def _read_sites(self, code: str) -> DomainSet:
        name, *rest = (part.strip() for part in code.split("@"))
        if not name:
            raise ValueError(f"geosite {code!r} names no list")
        path, file = self._dat("geosite")
        if file is None:
            return DomainSet()
        if name not in file:
            raise ValueError(f"{path} has no list {name!r}{did_you_mean(name, file.names)}")
        attributes = tuple(attribute for attribute in rest if attribute)
        found = self._usable("geosite", path, lambda: file.sites(name, attributes))
        if found is None:
            return DomainSet()
        domains, skipped = found
        self._count_skipped(path, name, skipped)
        if not len(domains):
            self.warnings.append(f"geosite {code!r} matches nothing: no name in {path} is on it")
        return domains

    def _read_dat(self, code: str) -> CidrSet:
        name = code.removeprefix("!").strip()
        if not name:
            raise ValueError(f"geoip {code!r} names no list")
        path, file = self._dat("geoip")
        if file is None:
            return CidrSet()
        if name not in file:
            raise ValueError(f"{path} has no list {name!r}{did_you_mean(name, file.names)}")
        found = self._usable("geoip", path, lambda: file.ranges(name))
        if found is None:
            return CidrSet()
        ranges, skipped = found
        self._count_skipped(path, name, skipped)
        if code == name:
            return ranges
        from mihomo_tproxy.geo.inverse import outside_ranges

        return outside_ranges(ranges)

    def _dat(self, kind: str) -> tuple[str, DatFile | None]:
        from mihomo_tproxy.geo.dat import DatFile

        path = self._present(kind)
        if path and kind not in self._dats:
            self._usable(kind, path, lambda: self._dats.update({kind: DatFile(read_whole(path))}))
        return path, self._dats.get(kind)

    def _read_database(self, kind: str, code: str) -> CidrSet:
        from mihomo_tproxy.geo.cache import RangeCache

        path = self._present(kind)
        cache = (
            self._usable(kind, path, lambda: RangeCache(self._home, kind, path)) if path else None
        )
        if cache is None:
            return CidrSet()
        ranges = cache.load(code)
        if ranges is None:
            ranges = self._usable(kind, path, lambda: self._database(kind, path).ranges(code))
            if ranges is None:
                return CidrSet()
            cache.store(code, ranges)
        if not len(ranges):
            of = f"IP-ASN {code}" if kind == "asn" else f"GEOIP {code!r}"
            self.warnings.append(f"{of} matches nothing: {path} has no address of it")
        return ranges

    def _database(self, kind: str, path: str) -> Database:
        from mihomo_tproxy.geo.mmdb import Database

        if kind not in self._databases:
            self._databases[kind] = Database(read_whole(path))
        return self._databases[kind]

    def _present(self, kind: str) -> str:
        """The path of a file, "" if it is missing; the first time, a warning says so."""
        path, found = locate(self._home, kind)
        if not found and kind not in self.missing:
            self.warnings.append(
                f"{path} is not there yet: rules that need it match nothing until the gateway "
                "has downloaded it"
            )
            self.missing.add(kind)
        return "" if kind in self.missing else path

    def _usable(self, kind: str, path: str, read: Callable[[], T]) -> T | None:
        """What was read; None, and a warning, when the file is not what it should be."""
        try:
            return read()
        except (ValueError, OSError) as error:
            self.missing.add(kind)
            self.warnings.append(
                f"{path} cannot be used ({error}): rules that need it match nothing until the "
                "gateway has downloaded it again"
            )
            return None

    def _count_skipped(self, path: str, name: str, skipped: int) -> None:
        if skipped:
            self.warnings.append(f"{path}: {skipped} entries of {name!r} cannot be used")
