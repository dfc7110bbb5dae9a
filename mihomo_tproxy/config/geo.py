"""`geodata-mode`, `geox-url`, `geo-auto-update`, `geo-update-interval`; wiki: "general", GEO.

`geodata-loader` and `geosite-matcher` choose between algorithms of mihomo's that find the same.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from mihomo_tproxy.config.report import did_you_mean
from mihomo_tproxy.config.section import Section
from mihomo_tproxy.config.specs.geo import GeoSpec

_LOADERS: Final = ("memc", "memconservative", "standard")
_MATCHERS: Final = ("hybrid", "mph", "succinct")
_MAX_INTERVAL_H: Final = 24 * 366
_MAX_URL_CHARS: Final = 2048


def parse_geo(section: Section) -> GeoSpec:
    """The geo settings of the top-level section."""
    default = GeoSpec()
    dat_mode = section.boolean("geodata-mode", default.dat_mode)
    _without_effect(section)
    auto_update = section.boolean("geo-auto-update", default.auto_update)
    interval_h = section.integer(
        "geo-update-interval", default.interval_h, -_MAX_INTERVAL_H, _MAX_INTERVAL_H
    )
    if interval_h <= 0:
        if auto_update:
            path = section.where("geo-update-interval")
            section.report.warning(path, f"{interval_h} hours: geo data is not updated by itself")
        auto_update, interval_h = False, default.interval_h
    urls = Section(section.report, section.where("geox-url"), section.take("geox-url"))
    spec = GeoSpec(
        dat_mode=dat_mode,
        auto_update=auto_update,
        interval_h=interval_h,
        geoip_url=_url(urls, "geoip", default.geoip_url),
        geosite_url=_url(urls, "geosite", default.geosite_url),
        mmdb_url=_url(urls, "mmdb", default.mmdb_url),
        asn_url=_url(urls, "asn", default.asn_url),
    )
    urls.warn_unknown()
    return spec


def _without_effect(section: Section) -> None:
    loader = section.text("geodata-loader")
    if loader in _LOADERS:
        _warn(section, "geodata-loader", "no effect, only the lists that rules name are read")
    elif loader:
        near = did_you_mean(loader, _LOADERS)
        section.problem("geodata-loader", f"expected one of {', '.join(_LOADERS)}{near}")
    matcher = section.text("geosite-matcher")
    if matcher:
        near = "" if matcher in _MATCHERS else did_you_mean(matcher, _MATCHERS)
        _warn(section, "geosite-matcher", f"no effect, all lists share one index{near}")


def _warn(section: Section, key: str, message: str) -> None:
    section.report.warning(section.where(key), message)


def _url(section: Section, key: str, default: str) -> str:
    text = section.text(key).strip()
    if not text:
        return default
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        usable = usable and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or len(text) > _MAX_URL_CHARS or not text.isprintable() or " " in text:
        section.problem(key, "expected a URL that begins with http:// or https://")
        return default
    return text
