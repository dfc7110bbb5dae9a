"""Values of a MaxMind data section."""

from __future__ import annotations

import pytest
from support.mmdb import Pointer, encode

from mihomo_tproxy.geo import records
from mihomo_tproxy.geo.records import MAX_DEPTH, Section


@pytest.mark.parametrize(
    "value",
    [
        "",
        "text",
        "ü",
        "x" * 28,
        "x" * 29,
        "x" * 284,
        "x" * 285,
        "x" * 65820,
        "x" * 65821,
        0,
        255,
        1 << 31,
        1 << 63,
        1 << 127,
        [],
        ["a", 1, ["b"]],
        {"a": {"b": ["c", {"d": 1}]}, "e": 2},
        {str(i): i for i in range(300)},
    ],
)
def test_values_come_back(value):
    assert Section(encode(value)).value(0) == value


def test_what_nobody_asks_for():
    assert Section(encode([1.5, True, False, 7])).value(0) == [None, 1, 0, 7]


@pytest.mark.parametrize(
    ("pointer", "target"),
    [(b"\x20\x05", 5), (b"\x28\x00\x05", 2053), (b"\x30\x00\x00\x05", 526341)],
)
def test_pointers_of_each_width(pointer, target):
    section = Section(pointer + bytes(target - len(pointer)) + encode("there"))
    assert section.value(0) == "there"


def test_a_pointer_of_32_bits_ignores_the_bits_of_its_control():
    assert Section(b"\x3f\x00\x00\x00\x05" + encode("there")).value(0) == "there"


def test_fields():
    names = encode({"iso_code": "de"})
    others = {"names": {"en": "x", "list": [1, [2.5, True]]}, "flag": True, "point": Pointer(0)}
    record = {**others, "country": {"geoname": 5, "iso_code": Pointer(10)}}
    section = Section(names + encode(record))
    assert names[10:] == encode("de")
    assert section.field(len(names), "country", "iso_code") == "de"
    assert section.field(len(names), "point", "iso_code") == "de"
    assert section.field(len(names), "country", "absent") is None
    assert section.field(len(names), "flag", "iso_code") is None


def test_keys_behind_pointers():
    section = Section(encode("asn") + b"\xe1" + encode(Pointer(0)) + encode(13335))
    assert section.field(4, "asn") == 13335
    assert section.field(4, "asn") == 13335
    assert section.value(4) == {"asn": 13335}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "beyond"),
        (b"\x42a", "beyond"),
        (b"\x5d", "beyond"),
        (b"\x20", "beyond"),
        (b"\x00", "beyond"),
        (b"\x20\xff", "beyond"),
        (b"\x20\x00", "to a pointer"),
        (b"\xe1\xc1\x01\xc1\x01", "no text"),
        (b"\x42\xff\xff", "UTF-8"),
        (b"\xe2\x41a\xc1\x01", "beyond"),
    ],
)
def test_bytes_that_make_no_sense(content, says):
    with pytest.raises(ValueError, match=says):
        Section(content).value(0)


def test_depth_is_bounded():
    value: object = "deep"
    for _ in range(MAX_DEPTH):
        value = [value]
    assert Section(encode(value)).value(0) == value
    with pytest.raises(ValueError, match="nest"):
        Section(encode([value])).value(0)
    with pytest.raises(ValueError, match="nest"):
        Section(encode({"a": [[value]], "b": 1})).field(0, "b")


def test_elements_are_bounded(monkeypatch):
    monkeypatch.setattr(records, "MAX_ELEMENTS", 100)
    section = Section(encode({str(i): i for i in range(30)}))
    for _ in range(3):
        section.field(0, "none")
    with pytest.raises(ValueError, match="more records"):
        section.field(0, "none")
    with pytest.raises(ValueError, match="more records"):
        Section(encode([1] * 100)).value(0)
