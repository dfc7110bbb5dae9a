"""Ranges out of MaxMind databases; maxminddb, which reads them forwards, is the oracle."""

from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv6Address, ip_network

import maxminddb
import pytest
from support.mmdb import ALIASES, write

from mihomo_tproxy.geo import mmdb
from mihomo_tproxy.geo.mmdb import MARKER, Database, parse_metadata
from mihomo_tproxy.matcher.cidr import parse_cidr
from mihomo_tproxy.matcher.cidr_set import CidrSet
from mihomo_tproxy.model.address import V4_MAPPED, address_key, is_v4

DE = {"country": {"iso_code": "DE"}}
US = {"continent": {"code": "NA"}, "country": {"iso_code": "US", "names": {"en": "x"}}}


def of(*cidrs):
    return list(CidrSet(prefix for text in cidrs for prefix in parse_cidr(text)).ranges())


def ranges(content, code):
    return list(Database(content).ranges(code).ranges())


def random_records(rng, version):
    records = []
    for _ in range(60):
        record = {"country": {"iso_code": rng.choice("ABCDE")}}
        if version == 6 and rng.random() < 0.5:
            base = (0x2000 << 112) | rng.getrandbits(125)
            network = ip_network((base, rng.randrange(8, 129)), strict=False)
        else:
            network = ip_network((rng.getrandbits(32), rng.randrange(1, 33)), strict=False)
        records.append((str(network), record))
    return records


@pytest.mark.parametrize("bits", [24, 28, 32])
@pytest.mark.parametrize(("version", "aliases"), [(4, ()), (6, ()), (6, ALIASES)])
def test_as_maxminddb_reads_it(tmp_path, bits, version, aliases):
    rng = random.Random(bits + version)
    content = write(random_records(rng, version), bits=bits, version=version, aliases=aliases)
    path = tmp_path / "small.mmdb"
    path.write_bytes(content)
    database = Database(content)
    found = {code: database.ranges(code) for code in "abcde"}
    edges = [edge for each in found.values() for pair in each.ranges() for edge in pair]
    keys = [edge + step for edge in edges for step in (-1, 0, 1)]
    keys += [V4_MAPPED | rng.getrandbits(32) for _ in range(200)]
    with maxminddb.open_database(path, maxminddb.MODE_FILE) as oracle:
        for key in (key for key in keys if is_v4(key) or version == 6):
            address = IPv4Address(key & 0xFFFFFFFF) if is_v4(key) else IPv6Address(key)
            record = oracle.get(address)
            expected = {record["country"]["iso_code"].lower()} if record else set()
            assert {code for code in found if key in found[code]} == expected


def test_countries():
    content = write([("10.0.0.0/8", DE), ("10.1.0.0/16", US), ("2001:db8::/32", DE)])
    assert ranges(content, "us") == of("10.1.0.0/16")
    assert address_key("10.1.2.3") not in Database(content).ranges("de")
    assert address_key("2001:db8::1") in Database(content).ranges("de")
    assert ranges(content, "zz") == []
    assert ranges(content, "DE") == []


def test_ipv4_appears_where_it_is_linked_to():
    content = write([("192.0.2.0/24", DE)], aliases=ALIASES)
    assert ranges(content, "de") == of("192.0.2.0/24", "2002:c000:200::/40", "2001:0:c000:200::/56")


def test_a_country_of_everything():
    content = write([("0.0.0.0/1", DE), ("128.0.0.0/1", DE)], version=4)
    assert ranges(content, "de") == of("0.0.0.0/0")


def test_without_a_tree_of_ipv4():
    content = write([("2001:db8::/32", US)])
    assert ranges(content, "us") == of("2001:db8::/32")


@pytest.mark.parametrize(
    ("prefix", "covers"), [("::/64", True), ("::/96", True), ("::8000:0:0/81", False)]
)
def test_a_record_that_covers_ipv4(tmp_path, prefix, covers):
    content = write([(prefix, DE)])
    path = tmp_path / "small.mmdb"
    path.write_bytes(content)
    with maxminddb.open_database(path, maxminddb.MODE_FILE) as oracle:
        assert (oracle.get("10.0.0.1") is not None) == covers
    assert ranges(content, "de") == of(prefix, *["0.0.0.0/0"][:covers])


def test_what_stands_in_the_mapped_range_is_not_seen():
    records = [("10.0.0.0/8", DE), ("::ffff:b00:0/104", US), ("2001:db8::/32", US)]
    content = write(records, aliases=["2002::/16"])
    assert ranges(content, "de") == of("10.0.0.0/8", "2002:a00::/24")
    assert ranges(content, "us") == of("2001:db8::/32")
    assert ranges(write([("::ffff:0:0/96", US), ("10.0.0.0/8", DE)]), "us") == []


def test_neighbours_of_ipv4_are_no_part_of_it():
    records = [("::fffe:ff00:0/104", DE), ("0.0.0.0/8", DE)]
    found = ranges(write(records, aliases=["2002::/16"]), "de")
    assert found == of("::fffe:ff00:0/104", "0.0.0.0/8", "2002::/24")


def test_sing_and_meta():
    sing = write([("10.0.0.0/8", "cn"), ("11.0.0.0/8", "")], type="sing-geoip")
    assert ranges(sing, "cn") == of("10.0.0.0/8")
    lists = [("10.0.0.0/8", ["cn", "telegram"]), ("11.0.0.0/8", "cn"), ("12.0.0.0/8", [5])]
    meta = write(lists, type="Meta-geoip0")
    assert ranges(meta, "cn") == of("10.0.0.0/8", "11.0.0.0/8")
    assert ranges(meta, "telegram") == of("10.0.0.0/8")


def test_networks():
    lite = {"autonomous_system_number": 64500, "autonomous_system_organization": "x"}
    none = {"autonomous_system_organization": "x"}
    records = [("10.0.0.0/8", lite), ("11.0.0.0/8", none)]
    for kind in ("GeoLite2-ASN", "DBIP-ASN-Lite (compat=GeoLite2-ASN)"):
        assert ranges(write(records, type=kind), "64500") == of("10.0.0.0/8")
    text = write([("10.0.0.0/8", {"asn": "AS64500"})], type="ipinfo generic_asn_free.mmdb")
    assert ranges(text, "64500") == of("10.0.0.0/8")


def test_a_code_in_many_records():
    records = [(f"10.{i}.0.0/16", ["x", f"l{i}"]) for i in range(20)]
    found = ranges(write(records, type="Meta-geoip0"), "x")
    assert found == of(*(prefix for prefix, _ in records))


def test_verify():
    content = write([("10.0.0.0/8", DE)])
    Database(content).verify("mmdb")
    with pytest.raises(ValueError, match="of the type 'GeoLite2-Country'"):
        Database(content).verify("asn")
    with pytest.raises(ValueError, match="no record"):
        Database(write([("10.0.0.0/8", {"city": 1})])).verify("mmdb")


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({"node_count": 0}, "node_count"),
        ({"node_count": 1 << 27}, "node_count"),
        ({"node_count": 100_000}, "search tree"),
        ({"node_count": "x"}, "node_count"),
        ({"record_size": 25}, "25 bits"),
        ({"record_size": 33}, "record_size"),
        ({"ip_version": 7}, "ip_version"),
        ({"database_type": 5}, "database_type"),
        ({"binary_format_major_version": 3}, "major version"),
    ],
)
def test_metadata_that_makes_no_sense(metadata, says):
    with pytest.raises(ValueError, match=says):
        Database(write([("10.0.0.0/8", DE)], **metadata))


def test_no_database():
    with pytest.raises(ValueError, match="no MaxMind"):
        Database(b"garbage")
    with pytest.raises(ValueError, match="no mapping"):
        parse_metadata(MARKER + b"\x41a")


def raw(nodes, data=b"\x42de", **metadata):
    """A database of 32-bit records as given; `len(nodes) + 16` is where the data begin."""
    size = len(nodes)
    tree = b"".join(child.to_bytes(4, "big") for node in nodes for child in node)
    about = {"node_count": size, "record_size": 32, "ip_version": 4, **metadata}
    ending = write([], type="sing-geoip", **about)
    return tree + bytes(16) + data + ending[ending.rfind(MARKER) :]


def test_raw_is_a_database():
    assert ranges(raw([(1, 2), (18, 2)]), "de") == of("0.0.0.0/2")


@pytest.mark.parametrize(
    "nodes",
    [
        pytest.param([(1, 1), (18, 2)], id="shared"),
        pytest.param([(1, 18), (0, 18)], id="to the root"),
        pytest.param([(18, 18), (1, 18)], id="of itself"),
        pytest.param([(19, 19), (2, 19), (1, 19)], id="apart, in a circle"),
        pytest.param([(18, 2), (18, 2)], id="apart"),
        pytest.param([(17, 18), (18, 18)], id="within the separator"),
        pytest.param([(1, 99), (18, 18)], id="beyond the data"),
    ],
)
def test_trees_that_are_none(nodes):
    with pytest.raises(ValueError, match=r"search tree|hangs nowhere|between|beyond"):
        ranges(raw(nodes), "de")


def test_a_tree_deeper_than_an_address():
    nodes = [(level + 1, 40 + 1) for level in range(40)] + [(40 + 1 + 16, 40 + 1)]
    with pytest.raises(ValueError, match="deeper"):
        ranges(raw(nodes), "de")


def test_bounds(monkeypatch):
    content = write([("10.0.0.0/8", DE), ("12.0.0.0/8", DE), ("14.0.0.0/8", US)], aliases=ALIASES)
    monkeypatch.setattr(mmdb, "MAX_RECORDS", 1)
    with pytest.raises(ValueError, match="different records"):
        ranges(content, "de")
    monkeypatch.undo()
    monkeypatch.setattr(mmdb, "MAX_PLACES", 1)
    with pytest.raises(ValueError, match="places"):
        ranges(content, "de")
    monkeypatch.setattr(mmdb, "MAX_LINKS", 3)
    with pytest.raises(ValueError, match="lead to IPv4"):
        ranges(content, "de")


def test_damage_never_does_harm():
    rng = random.Random(7)
    whole = write(random_records(rng, 6), aliases=ALIASES)
    for _ in range(300):
        content = bytearray(whole)
        for _ in range(rng.randrange(1, 6)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        start, end = sorted((rng.randrange(-900, 100), rng.randrange(len(whole) + 900)))
        damaged = bytes(content[max(start, 0) : end])
        try:
            database = Database(damaged)
            found = [len(database.ranges(code)) for code in database.codes()]
        except ValueError:
            continue
        assert sum(found) <= 3 * 8 * len(damaged)
