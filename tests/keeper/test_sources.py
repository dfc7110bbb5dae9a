"""What is downloaded."""

from __future__ import annotations

from mihomo_tproxy.config.schema import Config
from mihomo_tproxy.config.specs.geo import GeoSpec
from mihomo_tproxy.config.specs.provider import (
    Behavior,
    Format,
    ProxyProviderSpec,
    RuleProviderSpec,
    Vehicle,
)
from mihomo_tproxy.keeper.sources import SIZE_LIMIT, sources_of


def test_providers():
    config = Config(
        rule_providers=(
            RuleProviderSpec(
                "r", Vehicle.HTTP, "/h/r", "http://r.test/", 60, "P", 1000, (("X", "1"),),
                Behavior.IPCIDR, Format.MRS,
            ),
            RuleProviderSpec("f", Vehicle.FILE, "/h/f"),
            RuleProviderSpec("i", Vehicle.INLINE),
        ),
        proxy_providers=(
            ProxyProviderSpec("r", Vehicle.HTTP, "/h/p", "http://p.test/", parsing=b"x"),
        ),
    )  # fmt: skip
    found = sources_of(config)
    assert set(found) == {"rule provider r", "proxy provider r"}
    rules, proxies = found["rule provider r"], found["proxy provider r"]
    assert rules.job == ("rule", "/h/r", (Behavior.IPCIDR, Format.MRS))
    assert (rules.interval_s, rules.proxy, rules.size_limit) == (60, "P", 1000)
    assert rules.headers == (("X", "1"),)
    assert proxies.job == ("proxy", "/h/p", (b"x",))
    assert proxies.size_limit == SIZE_LIMIT


def test_what_a_provider_brought_makes_no_difference():
    first = RuleProviderSpec("r", Vehicle.HTTP, "/h/r", "http://r.test/", count=0)
    later = RuleProviderSpec("r", Vehicle.HTTP, "/h/r", "http://r.test/", count=9)
    before, after = Config(rule_providers=(first,)), Config(rule_providers=(later,))
    assert sources_of(before) == sources_of(after)


def test_geo_files(tmp_path):
    (tmp_path / "Country.mmdb").touch()
    home = str(tmp_path)
    geo = GeoSpec(needed=("mmdb", "geosite"), geosite_url="http://g.test/")
    found = sources_of(Config(geo=geo, home=home))
    assert set(found) == {"geo file mmdb", "geo file geosite"}
    assert found["geo file mmdb"].path == f"{home}/Country.mmdb"
    site = found["geo file geosite"]
    assert (site.url, site.path, site.interval_s) == ("http://g.test/", f"{home}/GeoSite.dat", 0)
    assert site.job == ("geo", site.path, ("geosite",))
    updating = GeoSpec(needed=("asn",), auto_update=True, interval_h=12)
    assert sources_of(Config(geo=updating, home=home))["geo file asn"].interval_s == 43200
