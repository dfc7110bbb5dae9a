"""Names and suffixes with ranked values, flat: a hash table over one blob of text.

A slot is a u32: the place of a record below, bits of its hash above; all ones is empty. Collisions
go to the next slot, at most half are full. A record is a word, three bits of kind and 29 of value
(`matcher.ranked`), then the text, then zeros up to a multiple of four bytes, one at least: what a
hit needs is in one place, mostly one line of the processor's cache. Places count in fours. The text
is compared, so a hash that happens to be equal costs time and decides nothing; no name holds a zero
byte. A name can also be a hint: whoever has it or is below it may be known to certain rules.

Hashes are Python's own, which differ between programs and are alike in a process and those forked
from it: `DomainTable` refuses a table of another's.
"""

from __future__ import annotations

from array import array
from itertools import accumulate
from sys import byteorder
from typing import TYPE_CHECKING, Final, NamedTuple

from mihomo_tproxy.matcher.ranked import HINTED, NO_VALUE

if TYPE_CHECKING:
    from collections.abc import Collection

    from mihomo_tproxy.matcher.domain_set import DomainSet
    from mihomo_tproxy.matcher.ranked import OneRank, Ranking
    from mihomo_tproxy.matcher.sections import Sections, SectionWriter

SUFFIX: Final = 0
NAME: Final = 1
BELOW: Final = 2
ONE: Final = 3
_SEVERAL: Final = 4
_SHIFT: Final = 29
_EMPTY: Final = 0xFFFFFFFF
_MAX_SINGLE: Final = 1000
_PROBE: Final = "a name to compare hashes by"
_ENDS: Final = (bytes(4), bytes(3), bytes(2), bytes(1))
"""Of a text, by what is left of its length when divided by four."""
_TAG_SHIFT: Final = 31
"""Bits of the hash that do not choose the slot."""


class DomainLayout(NamedTuple):
    """Where a table's arrays are, and what does not fit into them."""

    probe: int
    slots: int
    records: int
    place_bits: int
    several: tuple[tuple[int, int, int, int, int], ...]
    """Values of records with more than one kind: (suffix, name, below, one, hint)."""
    single: frozenset[str] | None
    """All names of one label: nearly every name ends in one that is not among them. None when they
    are many."""


class DomainTableBuilder:
    """Collects entries, in the order of their ranks."""

    def __init__(self, ranking: Ranking | OneRank) -> None:
        self._join = ranking.join
        self._tables: tuple[dict[str, int], ...] = ({}, {}, {}, {})
        self._hints: dict[str, int] = {}

    def add(self, kind: int, name: str, rank: int) -> None:
        """One entry; `rank` is not below those before."""
        table = self._tables[kind]
        value = table.get(name)
        table[name] = rank if value is None else self._join(value, rank)

    def hint(self, name: str, group: int) -> None:
        """Rules that may match this name and what is below; at most one group for each name."""
        self._hints[name] = HINTED + group

    def add_set(self, domains: DomainSet, rank: int) -> None:
        """The names of a set, with the same rank; what is no name there is left to others."""
        for kind, names in (
            (SUFFIX, domains.suffixes),
            (NAME, domains.names),
            (BELOW, domains.below),
            (ONE, domains.one),
        ):
            table = self._tables[kind]
            known = table.keys() & names
            joined = {name: self._join(table[name], rank) for name in known}
            table.update(dict.fromkeys(names, rank))
            table.update(joined)

    def build(self, writer: SectionWriter) -> DomainLayout | None:
        """Write the table; None when there is nothing in it."""
        words, several = self._words()
        if not words:
            return None
        records = [
            word.to_bytes(4, byteorder) + (text := name.encode()) + _ENDS[len(text) & 3]
            for name, word in words.items()
        ]
        places = [total >> 2 for total in accumulate(map(len, records), initial=0)]
        bits = places.pop().bit_length()
        single = frozenset(name for name in words if "." not in name)
        return DomainLayout(
            hash(_PROBE),
            writer.add(_slots(words, places, bits)),
            writer.add(b"".join(records)),
            bits,
            several,
            single if len(single) <= _MAX_SINGLE else None,
        )

    def _words(self) -> tuple[dict[str, int], tuple[tuple[int, int, int, int, int], ...]]:
        words: dict[str, int] = {}
        mixed: set[str] = set()
        for kind, table in enumerate(self._tables):
            mixed |= words.keys() & table.keys()
            shifted = kind << _SHIFT
            words.update({name: shifted | value for name, value in table.items()})
        several: list[tuple[int, int, int, int, int]] = []
        for name in mixed | self._hints.keys():
            suffix, exact, below, one = (table.get(name, NO_VALUE) for table in self._tables)
            words[name] = _SEVERAL << _SHIFT | len(several)
            several.append((suffix, exact, below, one, self._hints.get(name, NO_VALUE)))
        return words, tuple(several)


def _slots(names: Collection[str], places: list[int], bits: int) -> bytes:
    size = 1 << max(3, (len(names) * 2 - 1).bit_length())
    mask = size - 1
    tag_mask = (_EMPTY >> bits) << bits
    slots = array("I", [_EMPTY]) * size
    for record, name in zip(places, names, strict=True):
        code = hash(name)
        place = code & mask
        while slots[place] != _EMPTY:
            place = (place + 1) & mask
        slots[place] = (code >> _TAG_SHIFT << bits) & tag_mask | record
    return slots.tobytes()


class DomainTable:
    """Looks names up."""

    __slots__ = (
        "_bits", "_data", "_mask", "_place_mask", "_records", "_several", "_single", "_slots",
        "_tag_mask", "_texts",
    )  # fmt: skip

    def __init__(self, sections: Sections, layout: DomainLayout) -> None:
        if layout.probe != hash(_PROBE):
            raise RuntimeError("a table of names from another program: its hashes are not ours")
        self._slots = sections.array(layout.slots, "I")
        self._records = sections.array(layout.records, "I")
        self._data = sections.data
        self._texts = sections.place(layout.records)[0] + 4
        self._mask = len(self._slots) - 1
        self._bits = layout.place_bits
        self._place_mask = (1 << layout.place_bits) - 1
        self._tag_mask = _EMPTY & ~self._place_mask
        self._several = layout.several
        self._single = layout.single

    def hits(self, host: str) -> list[int]:
        """The values of all entries that a name matches, and all its hints, in no order."""
        found: list[int] = []
        slots, mask, tag_mask, bits = self._slots, self._mask, self._tag_mask, self._bits
        single = self._single
        name, at, depth = host, -1, 0
        while True:
            at = host.find(".", at + 1)
            if at < 0 and single is not None and name not in single:
                return found
            code = hash(name)
            place = code & mask
            slot = slots[place]
            if slot != _EMPTY:
                tag = (code >> _TAG_SHIFT << bits) & tag_mask
                while slot & tag_mask != tag or not self._is(slot, name):
                    place = (place + 1) & mask
                    slot = slots[place]
                    if slot == _EMPTY:
                        break
                else:
                    word = self._records[slot & self._place_mask]
                    kind = word >> _SHIFT
                    if kind == SUFFIX or (kind == NAME and not depth):
                        found.append(word & NO_VALUE)
                    else:
                        found += self._others(kind, word & NO_VALUE, depth)
            if at < 0:
                return found
            name = host[at + 1 :]
            depth += 1

    def _is(self, slot: int, name: str) -> bool:
        wanted = name.encode() + b"\0"
        start = self._texts + ((slot & self._place_mask) << 2)
        return self._data[start : start + len(wanted)] == wanted

    def _others(self, kind: int, value: int, depth: int) -> list[int]:
        """What a record of another kind has for a name that is `depth` labels longer."""
        if kind == _SEVERAL:
            suffix, exact, below, one, hint = self._several[value]
            values = [suffix, hint, one] if depth == 1 else [suffix, hint]
            values.append(below if depth else exact)
            return [each for each in values if each != NO_VALUE]
        fits = (kind == BELOW and depth) or (kind == ONE and depth == 1)
        return [value] if fits else []
