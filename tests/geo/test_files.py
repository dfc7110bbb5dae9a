"""The names of geo files in a home directory."""

from __future__ import annotations

import pytest

from mihomo_tproxy.geo import files
from mihomo_tproxy.geo.files import locate, read_whole


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("geoip", "GeoIP.dat"),
        ("geoip", "geoip.dat"),
        ("geosite", "GEOSITE.DAT"),
        ("mmdb", "country.mmdb"),
        ("mmdb", "Country.mmdb"),
        ("mmdb", "geoip.db"),
        ("mmdb", "GeoIP.metadb"),
        ("asn", "asn.MMDB"),
    ],
)
def test_either_case(tmp_path, kind, name):
    (tmp_path / name).write_bytes(b"")
    assert locate(str(tmp_path), kind) == (str(tmp_path / name), True)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("geoip", "GeoIP.dat"),
        ("geosite", "GeoSite.dat"),
        ("mmdb", "geoip.metadb"),
        ("asn", "ASN.mmdb"),
    ],
)
def test_where_a_download_belongs(tmp_path, kind, name):
    (tmp_path / "GeoLite2-ASN.mmdb").write_bytes(b"")
    (tmp_path / name).mkdir()
    assert locate(str(tmp_path), kind) == (str(tmp_path / name), False)


def test_the_first_in_the_order_of_bytes(tmp_path):
    for name in ("geoip.metadb", "geoip.db", "country.mmdb"):
        (tmp_path / name).write_bytes(b"")
    assert locate(str(tmp_path), "mmdb")[0] == str(tmp_path / "country.mmdb")
    (tmp_path / "GEOIP.metadb").write_bytes(b"")
    assert locate(str(tmp_path), "mmdb")[0] == str(tmp_path / "GEOIP.metadb")


def test_a_home_that_is_not_there(tmp_path):
    home = str(tmp_path / "absent")
    assert locate(home, "asn") == (f"{home}/ASN.mmdb", False)


def test_a_file_has_bounds(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 3)
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert read_whole(str(path)) == b"abc"
    path.write_bytes(b"abcd")
    with pytest.raises(ValueError, match="larger than"):
        read_whole(str(path))
