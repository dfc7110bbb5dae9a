"""Ranges kept in files."""

from __future__ import annotations

import os

import pytest

from mihomo_tproxy.geo.cache import DIRECTORY, RangeCache
from mihomo_tproxy.matcher.cidr import parse_cidr
from mihomo_tproxy.matcher.cidr_set import CidrSet

RANGES = CidrSet(
    prefix
    for text in ("10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32", "::1/128")
    for prefix in parse_cidr(text)
)


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "some.mmdb"
    path.write_bytes(b"database")
    return path


@pytest.fixture
def cache(tmp_path, database):
    return RangeCache(str(tmp_path), "mmdb", str(database))


def stored(tmp_path):
    return sorted((tmp_path / DIRECTORY).iterdir())


@pytest.mark.parametrize(
    "ranges", [RANGES, CidrSet(), CidrSet.of_ranges([(0, (1 << 128) - 1)])], ids=len
)
def test_what_is_stored_comes_back(cache, ranges):
    assert cache.load("cn") is None
    cache.store("cn", ranges)
    assert list(cache.load("cn").ranges()) == list(ranges.ranges())
    assert cache.load("us") is None


def test_a_hostile_code_stays_in_the_directory(tmp_path, cache):
    cache.store("../../x\0", RANGES)
    assert [path.parent for path in stored(tmp_path)] == [tmp_path / DIRECTORY]
    assert cache.load("../../x\0") is not None


def test_another_version_of_the_database(tmp_path, database, cache):
    other = RangeCache(str(tmp_path), "asn", str(database))
    cache.store("cn", RANGES)
    other.store("cn", RANGES)
    os.utime(database, ns=(1, 1))
    newer = RangeCache(str(tmp_path), "mmdb", str(database))
    assert newer.load("cn") is None
    newer.store("us", RANGES)
    assert cache.load("cn") is None
    assert other.load("cn") is not None
    assert len(stored(tmp_path)) == 2


def test_the_metadata_count(tmp_path, database, cache):
    status = database.stat()
    database.write_bytes(b"changed!")
    os.utime(database, ns=(status.st_atime_ns, status.st_mtime_ns))
    cache.store("cn", RANGES)
    assert RangeCache(str(tmp_path), "mmdb", str(database)).load("cn") is None


def test_damage_is_noticed(tmp_path, cache):
    cache.store("cn", RANGES)
    [path] = stored(tmp_path)
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert cache.load("cn") is None
        path.write_bytes(whole[:at])
        assert cache.load("cn") is None
    path.write_bytes(whole)
    assert cache.load("cn") is not None


def test_a_directory_that_cannot_be(tmp_path, cache):
    (tmp_path / DIRECTORY).write_bytes(b"in the way")
    cache.store("cn", RANGES)
    assert cache.load("cn") is None


def test_no_half_written_file_is_left(tmp_path, cache, monkeypatch):
    def fail(*_):
        raise OSError

    monkeypatch.setattr(os, "replace", fail)
    cache.store("cn", RANGES)
    assert stored(tmp_path) == []
