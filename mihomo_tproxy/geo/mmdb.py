"""MaxMind databases (format 2.0) read backwards: all ranges of one country, list or network.

The file maps addresses to records by a binary tree, one bit a level. Here the question is reversed:
the records that carry the code are found first, then their places in the tree, then from each
place the way up to the root gives its prefix. For that a table of parents is made once, which is
several times cheaper than to walk a million nodes down.

Invariants. Every node has one parent. The root of IPv4 alone, which stands at `::/96`, may be
linked from elsewhere too (writers link 2002::/16, 2001::/32 and ::ffff:0:0/96 to it); a database
that shares other nodes is refused, because a small file could spell out 2^128 ranges that way.
An IPv4 address is looked up at `::/96`; it is reported in `::ffff:0:0/96` (`model.address`), where
records of the file's own are not seen, and at every link, but not in `::/96`, which RFC 4291
(2.5.5.1) has withdrawn. Memory is proportional to the file.

What counts as the code of a record depends on the type of the database, as in mihomo.
"""

from __future__ import annotations

import sys
from array import array
from itertools import chain
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.geo.records import Section, Value
from mihomo_tproxy.matcher.cidr_set import CidrSet
from mihomo_tproxy.model.address import V4_BITS, V4_MAPPED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MARKER: Final = b"\xab\xcd\xefMaxMind.com"
MAX_METADATA_BYTES: Final = 128 << 10
MAX_NODES: Final = 8_000_000
"""Five times the largest one that is published for countries or networks."""
MAX_RECORDS: Final = 1_000_000
"""Different ones; all networks are a tenth of it."""
MAX_PLACES: Final = 2_000_000
"""Of one code; the largest country has a thirtieth of it."""
MAX_LINKS: Final = 8
"""To IPv4; writers make three."""

_SEPARATOR_BYTES: Final = 16
_ADDRESS_BITS: Final = 128
_V4_LAST: Final = V4_MAPPED | 0xFFFFFFFF
_NOWHERE: Final = 1 << _ADDRESS_BITS
"""Beyond all keys: what stands at `::ffff:0:0/96` itself is never looked up."""
_NO_PARENT: Final = 0xFFFFFFFF
_FEW: Final = 8

_ASN_TYPES: Final = ("GeoLite2-ASN", "DBIP-ASN-Lite (compat=GeoLite2-ASN)")
_ASN_TEXT_TYPE: Final = "ipinfo generic_asn_free.mmdb"


class Database:
    """One database. Raises ValueError, with a sentence, wherever the bytes make no sense."""

    def __init__(self, content: bytes) -> None:
        metadata = parse_metadata(content)
        self.type: str = _text(metadata, "database_type")
        self._nodes = _number(metadata, "node_count", 1, MAX_NODES)
        self._v6 = _number(metadata, "ip_version", 4, 6) == 6
        bits = _number(metadata, "record_size", 24, 32)
        if bits not in (24, 28, 32):
            raise ValueError(f"records of {bits} bits are unknown")
        if _number(metadata, "binary_format_major_version", 0, 255) != 2:
            raise ValueError("it is of another major version of the format than 2")
        tree_bytes = self._nodes * bits // 4
        data_at = tree_bytes + _SEPARATOR_BYTES
        end = content.rfind(MARKER)
        if data_at > end:
            raise ValueError("it ends within its search tree")
        self._records = _WIDEN[bits](content[:tree_bytes])
        self._data = Section(content[data_at:end])
        self._codes: dict[str, list[int]] | None = None
        self._parents: array[int] = array("I")
        self._prefixes: dict[int, tuple[int, int]] = {}
        self._links: list[tuple[int, int]] = []
        self._v4_leaf = self._mapped_leaf = -1

    def verify(self, kind: str) -> None:
        """Looks at all of it.

        Args:
            kind: what it should be, "mmdb" or "asn".

        Raises:
            ValueError: it is not that, or broken.
        """
        if (self.type in (*_ASN_TYPES, _ASN_TEXT_TYPE)) != (kind == "asn"):
            raise ValueError(f"it is a database of the type {self.type!r}")
        if not self.codes():
            raise ValueError("no record of it carries a code")
        self._climbable()

    def codes(self) -> dict[str, list[int]]:
        """The places in the data section that carry each code."""
        if self._codes is None:
            self._codes = self._read_codes()
        return self._codes

    def ranges(self, code: str) -> CidrSet:
        """The addresses of a code, a network's number in decimal; empty when there are none."""
        values = self.codes().get(code)
        if not values:
            return CidrSet()
        self._climbable()
        native = CidrSet.of_ranges(self._native(values))
        if not self._links:
            return native
        return CidrSet.of_ranges(chain(native.ranges(), self._linked(native)))

    def _read_codes(self) -> dict[str, list[int]]:
        base = self._nodes + _SEPARATOR_BYTES
        read = self._reader()
        codes: dict[str, list[int]] = {}
        for value in sorted(self._values()):
            if value < base:
                raise ValueError("a record lies between the tree and the data")
            for code in read(value - base):
                codes.setdefault(code, []).append(value)
        return codes

    def _values(self) -> set[int]:
        """Every record that leads into the data section, once."""
        values: set[int] = set()
        for start in range(0, len(self._records), MAX_RECORDS):
            part = self._records[start : start + MAX_RECORDS]
            values.update([value for value in part if value > self._nodes])
            if len(values) > MAX_RECORDS:
                raise ValueError(f"it has more than {MAX_RECORDS} different records")
        return values

    def _reader(self) -> Callable[[int], Iterable[str]]:
        """How a record of this type of database says its codes."""
        field, value = self._data.field, self._data.value
        if self.type in _ASN_TYPES:
            return lambda at: _decimal(field(at, "autonomous_system_number"))
        if self.type == _ASN_TEXT_TYPE:
            return lambda at: _after_as(field(at, "asn"))
        if self.type in ("sing-geoip", "Meta-geoip0"):
            return lambda at: _texts(value(at))
        return lambda at: _lowered(field(at, "country", "iso_code"))

    def _climbable(self) -> None:
        """Makes the table of parents: of each node, the place of the record that leads to it."""
        if self._parents:
            return
        count = self._nodes
        v4_root = 0
        if self._v6:
            self._v4_leaf, self._mapped_leaf = self._way(0), self._way(V4_MAPPED)
            v4_root = self._records[self._v4_leaf]
        parents = array("I", [_NO_PARENT]) * count
        links: list[int] = []
        seen = 0
        for place, value in enumerate(self._records):
            if value < count:
                if value == v4_root:
                    links.append(place)
                else:
                    parents[value] = place
                    seen += 1
        shared = count - parents.count(_NO_PARENT) != seen
        if shared or parents[0] != _NO_PARENT or (links and v4_root == 0):
            raise ValueError("its search tree is no tree")
        self._parents = parents
        if len(links) > MAX_LINKS:
            raise ValueError("too many parts of it lead to IPv4")
        self._prefixes = {0: (0, 0)}
        if self._v6 and (mapped := self._records[self._mapped_leaf]) < count:
            self._prefixes[mapped] = (_NOWHERE, V4_BITS)
        if v4_root < count:
            self._prefixes[v4_root] = (V4_MAPPED, V4_BITS)
        self._links = [link for link in map(self._prefix, links) if _is_alias(*link)]

    def _way(self, key: int) -> int:
        """The place of the record where the way to 96 bits of a key ends; it may be a leaf's."""
        node = place = 0
        for bit in range(_ADDRESS_BITS - 1, _ADDRESS_BITS - V4_BITS - 1, -1):
            place = 2 * node + (key >> bit & 1)
            node = self._records[place]
            if node >= self._nodes:
                break
        return place

    def _prefix(self, place: int) -> tuple[int, int]:
        """The prefix of one record of the tree: its key and its length."""
        parents, prefixes = self._parents, self._prefixes
        way = []
        while (known := prefixes.get(place >> 1)) is None:
            way.append(place)
            place = parents[place >> 1]
            if place == _NO_PARENT or len(way) > _ADDRESS_BITS:
                raise ValueError("a part of its search tree hangs nowhere")
        key, length = known
        while True:
            length += 1
            if length > _ADDRESS_BITS:
                raise ValueError("its search tree is deeper than an address is long")
            key |= (place & 1) << (_ADDRESS_BITS - length)
            if not way:
                return key, length
            place = way.pop()
            prefixes[place >> 1] = (key, length)

    def _native(self, values: list[int]) -> Iterator[tuple[int, int]]:
        """The ranges of records, each where it stands in the tree."""
        for count, place in enumerate(self._places(values)):
            if count >= MAX_PLACES:
                raise ValueError(f"one code has more than {MAX_PLACES} places in it")
            key, length = self._prefix(place)
            last = key | ((1 << (_ADDRESS_BITS - length)) - 1)
            if place == self._v4_leaf:
                yield V4_MAPPED, _V4_LAST
            if place == self._mapped_leaf:
                yield from _around_v4(key, last)
            elif key < _NOWHERE:
                yield key, last

    def _linked(self, native: CidrSet) -> Iterator[tuple[int, int]]:
        """The ranges of IPv4 once more, where the tree of IPv4 is linked to."""
        for start, end in native.ranges():
            first, last = max(start, V4_MAPPED), min(end, _V4_LAST)
            if first <= last:
                for base, length in self._links:
                    shift = V4_BITS - length
                    end_at = (last - V4_MAPPED + 1) << shift
                    yield base | (first - V4_MAPPED) << shift, base | (end_at - 1)

    def _places(self, values: list[int]) -> Iterator[int]:
        """Where in the tree the values stand."""
        if len(values) > _FEW:
            wanted = frozenset(values)
            yield from (place for place, value in enumerate(self._records) if value in wanted)
            return
        content = self._records.tobytes()
        for value in values:
            needle = value.to_bytes(4, sys.byteorder)
            at = content.find(needle)
            while at >= 0:
                if not at & 3:
                    yield at >> 2
                at = content.find(needle, at + 1)


def parse_metadata(content: bytes) -> dict[str, Value]:
    """What the database says about itself; `content` may be its last `MAX_METADATA_BYTES` only.

    Raises:
        ValueError: it says nothing that could be read.
    """
    at = content.rfind(MARKER, max(0, len(content) - MAX_METADATA_BYTES))
    if at < 0:
        raise ValueError("it is no MaxMind database")
    metadata = Section(content[at + len(MARKER) :]).value(0)
    if not isinstance(metadata, dict):
        raise ValueError("its metadata is no mapping")
    return metadata


def _number(metadata: dict[str, Value], key: str, low: int, high: int) -> int:
    value = metadata.get(key)
    if not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"its {key} makes no sense")
    return value


def _text(metadata: dict[str, Value], key: str) -> str:
    value = metadata.get(key)
    if not isinstance(value, str):
        raise ValueError(f"its {key} makes no sense")
    return value


def _is_alias(key: int, length: int) -> bool:
    """Whether a link to IPv4 is neither `::/96` itself nor the mapped range, which is ours."""
    return length <= V4_BITS and key not in (0, V4_MAPPED) and key < _NOWHERE


def _around_v4(first: int, last: int) -> list[tuple[int, int]]:
    """A range of IPv6 without the keys of IPv4, which lie within it."""
    parts = [(first, V4_MAPPED - 1), (_V4_LAST + 1, last)]
    return [part for part in parts if part[0] <= part[1]]


def _decimal(value: Value) -> tuple[str, ...]:
    return (str(value),) if isinstance(value, int) else ()


def _after_as(value: Value) -> tuple[str, ...]:
    return (value.removeprefix("AS"),) if isinstance(value, str) else ()


def _lowered(value: Value) -> tuple[str, ...]:
    return (value.lower(),) if isinstance(value, str) and value else ()


def _texts(value: Value) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple({item for item in value if isinstance(item, str)})
    return (value,) if isinstance(value, str) and value else ()


def _widen24(tree: bytes) -> array[int]:
    return _big_endian(bytes(len(tree) // 3), tree[0::3], tree[1::3], tree[2::3])


def _widen28(tree: bytes) -> array[int]:
    """The middle byte of seven holds the highest four bits of the left record and of the right."""
    count = len(tree) // 7
    middle = tree[3::7]
    columns = [bytearray(2 * count) for _ in range(4)]
    high_nibbles = bytes(byte >> 4 for byte in range(256))
    low_nibbles = bytes(byte & 15 for byte in range(256))
    columns[0][0::2], columns[0][1::2] = (
        middle.translate(high_nibbles),
        middle.translate(low_nibbles),
    )
    for column, left, right in ((1, 0, 4), (2, 1, 5), (3, 2, 6)):
        columns[column][0::2], columns[column][1::2] = tree[left::7], tree[right::7]
    return _big_endian(*map(bytes, columns))


def _widen32(tree: bytes) -> array[int]:
    return _big_endian(tree[0::4], tree[1::4], tree[2::4], tree[3::4])


def _big_endian(*columns: bytes) -> array[int]:
    """Numbers from their four bytes, highest first, one column each."""
    joined = bytearray(4 * len(columns[0]))
    order = columns if sys.byteorder == "big" else columns[::-1]
    for place, column in enumerate(order):
        joined[place::4] = column
    return array("I", bytes(joined))


_WIDEN: Final = {24: _widen24, 28: _widen28, 32: _widen32}
