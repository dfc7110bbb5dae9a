"""The settings of geo data."""

from __future__ import annotations

import pytest
from support.dat import SUFFIX, cidr, domain, entry
from support.mmdb import write

from mihomo_tproxy.config import parse
from mihomo_tproxy.config.specs.geo import GeoSpec
from mihomo_tproxy.errors import ConfigError

RELEASE = "https://github.com/MetaCubeX/meta-rules-dat/releases/download/latest/"


def test_defaults():
    config = parse("{}")
    assert config.geo == GeoSpec(
        dat_mode=False,
        auto_update=False,
        interval_h=24,
        geoip_url=f"{RELEASE}geoip.dat",
        geosite_url=f"{RELEASE}geosite.dat",
        mmdb_url=f"{RELEASE}geoip.metadb",
        asn_url=f"{RELEASE}GeoLite2-ASN.mmdb",
    )
    assert config.warnings == ()


def test_everything():
    config = parse("""
geodata-mode: true
geo-auto-update: true
geo-update-interval: 48
geox-url:
  geoip: http://mirror.example/geoip.dat
  geosite: https://mirror.example:8443/geosite.dat
  mmdb: https://[2001:db8::1]/country.mmdb?token=a%20b
  asn: https://mirror.example/asn.mmdb
""")
    assert config.geo == GeoSpec(
        dat_mode=True,
        auto_update=True,
        interval_h=48,
        geoip_url="http://mirror.example/geoip.dat",
        geosite_url="https://mirror.example:8443/geosite.dat",
        mmdb_url="https://[2001:db8::1]/country.mmdb?token=a%20b",
        asn_url="https://mirror.example/asn.mmdb",
    )
    kinds = ("geoip", "geosite", "mmdb", "asn")
    assert [config.geo.url(kind).split("//")[1][:6] for kind in kinds] == [
        "mirror",
        "mirror",
        "[2001:",
        "mirror",
    ]
    assert len({config.geo.url(kind) for kind in kinds}) == 4
    assert config.warnings == ()


def test_empty_urls_are_the_defaults():
    assert parse('geox-url: {geoip: "", asn: null}').geo == GeoSpec()
    assert parse("geox-url: null").geo == GeoSpec()


@pytest.mark.parametrize("hours", [0, -3])
def test_an_interval_that_is_none(hours):
    config = parse(f"geo-update-interval: {hours}\ngeo-auto-update: true")
    assert config.geo == GeoSpec()
    assert config.warnings == (
        f"line 1: geo-update-interval: {hours} hours: geo data is not updated by itself",
    )
    assert parse(f"geo-update-interval: {hours}").warnings == ()


@pytest.mark.parametrize("loader", ["standard", "memconservative", "memc"])
def test_loaders_have_no_effect(loader):
    config = parse(f"geodata-loader: {loader}")
    assert config.geo == GeoSpec()
    assert config.warnings == (
        "line 1: geodata-loader: no effect, only the lists that rules name are read",
    )


@pytest.mark.parametrize(("matcher", "near"), [("mph", ""), ("mhp", ", did you mean 'mph'?")])
def test_matchers_have_no_effect(matcher, near):
    assert parse(f"geosite-matcher: {matcher}").warnings == (
        f"line 1: geosite-matcher: no effect, all lists share one index{near}",
    )


@pytest.mark.parametrize(
    ("text", "path", "says"),
    [
        ("geodata-mode: maybe", "geodata-mode", "expected true or false"),
        ("geo-auto-update: [1]", "geo-auto-update", "expected true or false"),
        ("geo-update-interval: 1e9", "geo-update-interval", "out of range"),
        ("geodata-loader: memconservativ", "geodata-loader", "did you mean 'memconservative'?"),
        ("geox-url: [1]", "geox-url", "expected a mapping"),
        ("geox-url: {geoip: 'ftp://x/y'}", "geox-url.geoip", "http:// or https://"),
        ("geox-url: {geosite: 'https:///y'}", "geox-url.geosite", "http:// or https://"),
        ("geox-url: {mmdb: 'https://x:99999/y'}", "geox-url.mmdb", "http:// or https://"),
        ("geox-url: {asn: 'https://x/a b'}", "geox-url.asn", "http:// or https://"),
    ],
)
def test_wrong_values(text, path, says):
    with pytest.raises(ConfigError) as caught:
        parse(text)
    [problem] = caught.value.problems
    assert problem.path == path
    assert says in problem.message
    assert problem.line == 1


def test_unknown_urls():
    [warning] = parse("geox-url: {geoipp: x}").warnings
    assert warning == "line 1: geox-url.geoipp: unknown key, did you mean 'geoip'?"


RULES = """
rules:
  - GEOSITE,cn@ads,REJECT
  - GEOSITE,cn,DIRECT
  - GEOIP,cn,DIRECT
  - IP-ASN,64500,REJECT
  - MATCH,REJECT
"""


def test_files_that_rules_name(tmp_path):
    (tmp_path / "geosite.dat").write_bytes(entry("CN", domain(SUFFIX, "cn")))
    country = {"country": {"iso_code": "CN"}}
    (tmp_path / "Country.mmdb").write_bytes(write([("10.0.0.0/8", country)]))
    config = parse(RULES, str(tmp_path))
    assert config.geo == GeoSpec(needed=("asn", "geosite", "mmdb"), missing=("asn",))
    assert config.warnings == (
        f"geosite 'cn@ads' matches nothing: no name in {tmp_path}/geosite.dat is on it",
        f"{tmp_path}/ASN.mmdb is not there yet: rules that need it match nothing until the gateway "
        "has downloaded it",
    )
    _, names, addresses, network, _ = config.rules
    assert "www.cn" in names.domains
    assert len(addresses.ranges) == 1
    assert len(network.ranges) == 0


def test_files_that_no_rule_names(tmp_path):
    assert parse("rules: ['GEOIP,lan,DIRECT', 'MATCH,DIRECT']", str(tmp_path)).geo == GeoSpec()


def test_lists_that_are_not_in_a_file(tmp_path):
    (tmp_path / "geosite.dat").write_bytes(entry("CN", domain(SUFFIX, "cn")))
    (tmp_path / "geoip.dat").write_bytes(entry("CN", cidr("10.0.0.0/8")))
    with pytest.raises(ConfigError) as caught:
        parse(
            "geodata-mode: true\nrules: ['GEOSITE,cnn,DIRECT', 'GEOIP,cnn,DIRECT']", str(tmp_path)
        )
    assert [(each.path, each.message) for each in caught.value.problems] == [
        ("rules[0]", f"{tmp_path}/geosite.dat has no list 'cnn', did you mean 'cn'?"),
        ("rules[1]", f"{tmp_path}/geoip.dat has no list 'cnn', did you mean 'cn'?"),
    ]
