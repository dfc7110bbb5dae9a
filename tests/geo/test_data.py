"""The geo data of a configuration."""

from __future__ import annotations

import pytest
from support.dat import FULL, REGEX, SUFFIX, cidr, domain, entry, raw_cidr
from support.mmdb import write

from mihomo_tproxy.config.specs.geo import GeoSpec
from mihomo_tproxy.geo import mmdb
from mihomo_tproxy.geo.data import GeoData
from mihomo_tproxy.model.address import address_key

SITES = entry("CN", domain(SUFFIX, "cn"), domain(FULL, "example.com", "ads")) + entry(
    "BROKEN-ENTRIES", domain(REGEX, "("), domain(FULL, "a.b")
)
ADDRESSES = entry("CN", cidr("10.0.0.0/8")) + entry("ODD", raw_cidr(b"", 1), cidr("11.0.0.0/8"))
COUNTRIES = write([("10.0.0.0/8", {"country": {"iso_code": "CN"}})])
NETWORKS = write([("10.0.0.0/8", {"autonomous_system_number": 64500})], type="GeoLite2-ASN")


@pytest.fixture
def home(tmp_path):
    (tmp_path / "geosite.dat").write_bytes(SITES)
    (tmp_path / "geoip.dat").write_bytes(ADDRESSES)
    (tmp_path / "country.mmdb").write_bytes(COUNTRIES)
    (tmp_path / "ASN.mmdb").write_bytes(NETWORKS)
    return tmp_path


@pytest.fixture
def data(home):
    return GeoData(str(home), GeoSpec())


@pytest.fixture
def dat_mode(home):
    return GeoData(str(home), GeoSpec(dat_mode=True))


def test_nothing_is_needed_until_it_is_named(data):
    assert (data.needed, data.missing, data.warnings) == (set(), set(), [])


def test_lists_of_names(data):
    found = data.geosite("CN")
    assert "www.cn" in found
    assert data.geosite("cn") is found
    assert data.needed == {"geosite"}
    assert data.warnings == []


def test_attributes(data):
    found = data.geosite("cn@ads")
    assert "example.com" in found
    assert "www.cn" not in found
    assert len(data.geosite(" cn @")) == 2


def test_an_attribute_that_no_name_has(data):
    assert len(data.geosite("cn@none")) == 0
    assert data.warnings == [
        f"geosite 'cn@none' matches nothing: no name in {data._home}/geosite.dat is on it"
    ]


@pytest.mark.parametrize("code", ["", "!", "@ads", " "])
def test_no_list_is_named(data, dat_mode, code):
    with pytest.raises(ValueError, match="names no list"):
        data.geosite(code.lstrip("!"))
    if "@" not in code:
        with pytest.raises(ValueError, match="names no list"):
            dat_mode.geoip(code)


def test_a_list_that_is_not_in_the_file(data, dat_mode):
    with pytest.raises(ValueError, match=r"geosite.dat has no list 'cnn', did you mean 'cn'\?"):
        data.geosite("cnn")
    with pytest.raises(ValueError, match=r"geoip.dat has no list 'cnn', did you mean 'cn'\?"):
        dat_mode.geoip("CNN")


def test_entries_that_cannot_be_used(data, dat_mode):
    assert len(data.geosite("broken-entries")) == 1
    assert len(dat_mode.geoip("odd")) == 1
    assert data.warnings == [
        f"{data._home}/geosite.dat: 1 entries of 'broken-entries' cannot be used"
    ]
    assert dat_mode.warnings == [f"{data._home}/geoip.dat: 1 entries of 'odd' cannot be used"]


def test_countries(data):
    found = data.geoip("CN")
    assert address_key("10.1.2.3") in found
    assert data.geoip("cn") is found
    assert data.needed == {"mmdb"}


def test_geodata_mode(dat_mode):
    assert address_key("10.1.2.3") in dat_mode.geoip("cn")
    assert address_key("10.1.2.3") not in dat_mode.geoip("!cn")
    assert address_key("2001:db8::1") in dat_mode.geoip("!CN")
    assert dat_mode.needed == {"geoip"}


def test_networks(data):
    assert address_key("10.1.2.3") in data.asn(64500)
    assert data.needed == {"asn"}


def test_codes_that_no_address_has(data):
    assert len(data.geoip("zz")) == 0
    assert len(data.asn(1)) == 0
    assert data.warnings == [
        f"GEOIP 'zz' matches nothing: {data._home}/country.mmdb has no address of it",
        f"IP-ASN 1 matches nothing: {data._home}/ASN.mmdb has no address of it",
    ]


def test_the_second_time_no_database_is_read(home, monkeypatch):
    first = GeoData(str(home), GeoSpec()).geoip("cn")
    monkeypatch.setattr(mmdb.Database, "__init__", None)
    second = GeoData(str(home), GeoSpec()).geoip("cn")
    assert list(second.ranges()) == list(first.ranges())


def test_files_that_are_not_there(tmp_path):
    for spec in (GeoSpec(), GeoSpec(dat_mode=True)):
        data = GeoData(str(tmp_path), spec)
        kind = "geoip" if spec.dat_mode else "mmdb"
        name = "GeoIP.dat" if spec.dat_mode else "geoip.metadb"
        assert len(data.geosite("cn")) == len(data.geosite("us")) == 0
        assert len(data.geoip("cn")) == len(data.geoip("us")) == len(data.asn(1)) == 0
        assert data.missing == data.needed == {"geosite", kind, "asn"}
        later = "is not there yet: rules that need it match nothing until the gateway"
        assert data.warnings == [
            f"{tmp_path}/{file} {later} has downloaded it"
            for file in ("GeoSite.dat", name, "ASN.mmdb")
        ]


def test_files_that_are_something_else(home):
    for name in ("geosite.dat", "geoip.dat", "country.mmdb", "ASN.mmdb"):
        (home / name).write_bytes(b"<html>404</html>")
    for spec, needed in ((GeoSpec(), {"geosite", "mmdb", "asn"}), (GeoSpec(dat_mode=True), None)):
        data = GeoData(str(home), spec)
        assert len(data.geosite("cn")) == len(data.geosite("cn@x")) == 0
        assert len(data.geoip("cn")) == len(data.geoip("us")) == len(data.asn(1)) == 0
        assert data.missing == (needed or {"geosite", "geoip", "asn"})
        assert len(data.warnings) == 3
        assert "geosite.dat cannot be used (it is no list of lists): rules" in data.warnings[0]


def test_a_list_that_is_broken(home):
    (home / "geosite.dat").write_bytes(entry("CN", b"\x12\x7f") + SITES)
    (home / "geoip.dat").write_bytes(entry("CN", b"\x12\x7f") + ADDRESSES)
    data = GeoData(str(home), GeoSpec(dat_mode=True))
    assert len(data.geosite("cn")) == len(data.geoip("cn")) == 0
    assert data.missing == {"geosite", "geoip"}
    assert [warning.partition(": ")[0] for warning in data.warnings] == [
        f"{home}/{name} cannot be used (a field is longer than its list)"
        for name in ("geosite.dat", "geoip.dat")
    ]
