"""What the keeper downloads: `http` providers, and geo files that rules name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from mihomo_tproxy.config.specs.provider import Vehicle
from mihomo_tproxy.geo.files import locate
from mihomo_tproxy.keeper.validate import Job

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mihomo_tproxy.config.schema import Config
    from mihomo_tproxy.config.specs.provider import ProviderSpec

SIZE_LIMIT: Final = 64 << 20
"""Of what has no `size-limit`."""


class Source(NamedTuple):
    """One file that comes from a server."""

    kind: str
    """`rule provider`, `proxy provider` or `geo file`."""
    name: str
    url: str
    path: str
    interval_s: int
    """Between downloads; 0: once, when the file is absent."""
    proxy: str
    """The outbound to download through; "": whoever the rules name."""
    size_limit: int
    headers: tuple[tuple[str, str], ...]
    job: Job
    """How to validate it; its path is that of the download."""

    @property
    def key(self) -> str:
        """Of all sources of a configuration only this one has it."""
        return f"{self.kind} {self.name}"


def sources_of(config: Config) -> dict[str, Source]:
    """All sources of a configuration, by their keys."""
    found = [*_providers(config), *_geo_files(config)]
    return {source.key: source for source in found}


def _providers(config: Config) -> Iterator[Source]:
    for rules in config.rule_providers:
        if rules.vehicle is Vehicle.HTTP:
            job = Job("rule", rules.path, (rules.behavior, rules.format))
            yield _provider("rule provider", rules, job)
    for proxies in config.proxy_providers:
        if proxies.vehicle is Vehicle.HTTP:
            job = Job("proxy", proxies.path, (proxies.parsing,))
            yield _provider("proxy provider", proxies, job)


def _provider(kind: str, spec: ProviderSpec, job: Job) -> Source:
    limit = spec.size_limit or SIZE_LIMIT
    return Source(
        kind, spec.name, spec.url, spec.path, spec.interval_s, spec.proxy, limit, spec.headers, job
    )


def _geo_files(config: Config) -> Iterator[Source]:
    geo = config.geo
    urls = {
        "geoip": geo.geoip_url,
        "geosite": geo.geosite_url,
        "mmdb": geo.mmdb_url,
        "asn": geo.asn_url,
    }
    interval_s = geo.interval_h * 3600 if geo.auto_update else 0
    for kind in geo.needed:
        path, _present = locate(config.home, kind)
        job = Job("geo", path, (kind,))
        yield Source("geo file", kind, urls[kind], path, interval_s, "", SIZE_LIMIT, (), job)
