"""What is let in as a geo file."""

from __future__ import annotations

import pytest
from support.dat import FULL, cidr, domain, entry
from support.mmdb import write

from mihomo_tproxy.geo.validate import check, validate

GOOD = {
    "geosite": entry("CN", domain(FULL, "example.com")),
    "geoip": entry("CN", cidr("10.0.0.0/8")),
    "mmdb": write([("10.0.0.0/8", {"country": {"iso_code": "CN"}})]),
    "asn": write([("10.0.0.0/8", {"autonomous_system_number": 64500})], type="GeoLite2-ASN"),
}


@pytest.mark.parametrize("kind", GOOD)
def test_each_kind_is_only_itself(tmp_path, kind):
    path = tmp_path / "file"
    path.write_bytes(GOOD[kind])
    validate(kind, str(path))
    for other in GOOD.keys() - {kind}:
        with pytest.raises(ValueError, match=r"\w"):
            validate(other, str(path))


@pytest.mark.parametrize("kind", GOOD)
@pytest.mark.parametrize("content", [b"", b"<html>", bytes(100_000), b"\x1f\x8b\x08\x00"])
def test_garbage(kind, content):
    with pytest.raises(ValueError, match=r"\w"):
        check(kind, content)


@pytest.mark.parametrize("kind", GOOD)
def test_truncated(kind):
    for size in range(len(GOOD[kind])):
        with pytest.raises(ValueError, match=r"\w"):
            check(kind, GOOD[kind][:size])


def test_a_kind_that_is_none():
    with pytest.raises(ValueError, match="no kind"):
        check("country", b"")
