"""Lists of geosite.dat and geoip.dat."""

from __future__ import annotations

import random

import pytest
from support.dat import FULL, KEYWORD, REGEX, SUFFIX, cidr, domain, entry, field, number, raw_cidr

from mihomo_tproxy.geo import dat
from mihomo_tproxy.geo.dat import DatFile
from mihomo_tproxy.matcher.cidr import parse_cidr
from mihomo_tproxy.matcher.cidr_set import CidrSet

SITES = entry(
    "GOOGLE",
    domain(KEYWORD, "Goog"),
    domain(REGEX, r"^ads\d+\."),
    domain(SUFFIX, "Example.COM"),
    domain(FULL, "one.example.net"),
    domain(SUFFIX, "ads.example.org", "ads"),
    domain(SUFFIX, "cn.example.org", "CN", "ads"),
) + entry("cn", domain(SUFFIX, "cn"))
ADDRESSES = entry("CN", cidr("10.0.0.0/8"), cidr("2001:db8::/32")) + entry("US", cidr("11.0.0.0/8"))


def ranges(*cidrs):
    return list(CidrSet(prefix for text in cidrs for prefix in parse_cidr(text)).ranges())


def test_every_type_of_name():
    domains, skipped = DatFile(SITES).sites("google")
    assert skipped == 0
    assert len(domains) == 6
    for name in ("xgoogle.com", "ads12.x", "example.com", "a.example.com", "one.example.net"):
        assert name in domains
    for name in ("x.ads12.x", "two.one.example.net", "notexample.com", ""):
        assert name not in domains


def test_attributes():
    file = DatFile(SITES)
    assert file.sites("google", ("ads",)).domains.suffixes == {"ads.example.org", "cn.example.org"}
    assert file.sites("google", ("ads", "cn")).domains.suffixes == {"cn.example.org"}
    assert len(file.sites("google", ("none",)).domains) == 0


def test_lists_by_name():
    file = DatFile(SITES)
    assert file.names == ["google", "cn"]
    assert "cn" in file
    assert "us" not in file
    assert file.sites("cn").domains.suffixes == {"cn"}


@pytest.mark.parametrize(
    "item",
    [
        domain(REGEX, "(unclosed"),
        domain(REGEX, "x" * 1001),
        domain(REGEX, r"(a+)+\1$"),
        domain(FULL, "a..b"),
        domain(SUFFIX, ""),
        domain(SUFFIX, "*.x"),
        domain(KEYWORD, ""),
        domain(FULL, "x" * 2000),
        domain(9, "x"),
        field(2, field(2, b"\xff\xfe")),
    ],
)
def test_what_cannot_be_used_is_counted(item):
    domains, skipped = DatFile(entry("x", item, domain(FULL, "good"))).sites("x")
    assert skipped == 1
    assert domains.names == {"good"}
    assert len(domains) == 1


def test_a_name_in_its_own_script():
    assert "xn--fiqs8s" in DatFile(entry("x", domain(SUFFIX, "中国"))).sites("x").domains


def test_addresses():
    found, skipped = DatFile(ADDRESSES).ranges("cn")
    assert skipped == 0
    assert list(found.ranges()) == ranges("10.0.0.0/8", "2001:db8::/32")


def test_host_bits_are_ignored():
    items = raw_cidr(b"\x0a\1\2\3", 8), raw_cidr(b"\x20\1" + b"\1" * 14, 16)
    found, _ = DatFile(entry("x", *items)).ranges("x")
    assert list(found.ranges()) == ranges("10.0.0.0/8", "2001::/16")


def test_everything_of_one_family():
    found, _ = DatFile(entry("x", cidr("::/0"))).ranges("x")
    assert list(found.ranges()) == ranges("::/0")
    found, _ = DatFile(entry("x", cidr("0.0.0.0/0"))).ranges("x")
    assert list(found.ranges()) == ranges("0.0.0.0/0")


@pytest.mark.parametrize(
    "item",
    [
        raw_cidr(bytes(4), 33),
        raw_cidr(bytes(16), 129),
        raw_cidr(bytes(5), 8),
        raw_cidr(b"", 0),
        cidr("::ffff:10.0.0.0/104"),
    ],
)
def test_addresses_that_make_no_sense_are_counted(item):
    found, skipped = DatFile(entry("x", item, cidr("10.0.0.0/8"))).ranges("x")
    assert skipped == 1
    assert list(found.ranges()) == ranges("10.0.0.0/8")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"garbage", "no list of lists"),
        (SITES[:-1], "ends within"),
        (b"\x0a", "length"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "length"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\x7f", "ends within"),
        (b"\x0a\x00", "no name"),
        (b"\x0a\x02\x12\x00", "no name"),
        (b"\x0a\x02\x0a\x05", "longer than its list"),
        (entry("x" * 300), "longer than its list"),
    ],
)
def test_what_is_no_such_file(content, says):
    with pytest.raises(ValueError, match=says):
        DatFile(content)


@pytest.mark.parametrize(
    ("items", "says"),
    [
        (b"\x12\x05", "longer than its list"),
        (b"\x12\xff\xff\x03", "longer than its list"),
        (b"\x12\xff", "length"),
        (b"\x13\x00", "unknown kind"),
        (field(2, b"\x0a\x7f"), "cannot be parsed"),
    ],
)
def test_a_broken_list_spoils_no_other(items, says):
    file = DatFile(entry("x", items) + SITES)
    with pytest.raises(ValueError, match=says):
        file.sites("x")
    with pytest.raises(ValueError, match=says):
        file.ranges("x")
    assert len(file.sites("cn").domains) == 1


def test_fields_that_nobody_reads():
    content = entry("x", number(3, 1), field(4, b"md5"), cidr("10.0.0.0/8"))
    assert list(DatFile(content).ranges("x")[0].ranges()) == ranges("10.0.0.0/8")


def test_bounds(monkeypatch):
    monkeypatch.setattr(dat, "MAX_ITEMS", 3)
    with pytest.raises(ValueError, match="more than 3 items"):
        DatFile(SITES).sites("google")
    monkeypatch.setattr(dat, "MAX_LISTS", 1)
    with pytest.raises(ValueError, match="more than 1 lists"):
        DatFile(SITES)
    monkeypatch.setattr(dat, "MAX_LIST_BYTES", 20)
    with pytest.raises(ValueError, match="larger than"):
        DatFile(SITES)


def test_what_is_tried_one_by_one_is_bounded(monkeypatch):
    monkeypatch.setattr(dat, "MAX_EXPRESSIONS", 1)
    monkeypatch.setattr(dat, "MAX_KEYWORDS", 2)
    items = [domain(REGEX, "^a"), domain(KEYWORD, "b"), domain(REGEX, "^c"), domain(KEYWORD, "d")]
    domains, skipped = DatFile(entry("x", *items, domain(KEYWORD, "e"))).sites("x")
    assert [each.pattern for each in domains.expressions] == ["^a"]
    assert domains.keywords == ["b", "d"]
    assert skipped == 2


def test_verify():
    DatFile(SITES).verify("geosite")
    DatFile(ADDRESSES).verify("geoip")
    with pytest.raises(ValueError, match="not for geoip"):
        DatFile(SITES).verify("geoip")
    with pytest.raises(ValueError, match="not for geosite"):
        DatFile(ADDRESSES).verify("geosite")


def test_verify_looks_at_every_list(monkeypatch):
    monkeypatch.setattr(dat, "_SAMPLE", 1)
    with pytest.raises(ValueError, match="longer than its list"):
        DatFile(ADDRESSES + entry("x", b"\x12\x05")).verify("geoip")


def test_damage_never_does_harm():
    rng = random.Random(3)
    whole = SITES + ADDRESSES
    for _ in range(500):
        content = bytearray(whole)
        for _ in range(rng.randrange(1, 4)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        for kind in ("geosite", "geoip"):
            try:
                file = DatFile(bytes(content))
                file.verify(kind)
            except ValueError:
                continue
            assert file.names
