"""A rule list made flat: one piece of memory that an `Engine` reads as it is.

It is built where the configuration is read (`rule.flatten`), in a process that ends then, and
mapped by those that decide flows: they share the pages, load nothing, and their collector never
sees it. What a rule is known by (names, addresses, ports) is in tables over all rules; the few
others are kept as they are, with the large sets inside them flat as well; some are asked only about
names that have what they need, the rest one by one. A
place in the expanded list (`rule.chain`) is a rank; the lowest rank decides.

An address is looked up in one of several tables, by segments of the list: a flow that only has a
name gets its address at the first rule that may ask for it, and rules before that do not see it.
"""

from __future__ import annotations

import os
import pickle
from io import BytesIO
from mmap import PROT_READ, mmap
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mihomo_tproxy.matcher.flat_sets import FlatCidrSet, FlatDomainSet
from mihomo_tproxy.matcher.sections import Sections

if TYPE_CHECKING:
    from mihomo_tproxy.matcher.domain_table import DomainLayout
    from mihomo_tproxy.matcher.parts import PartIndex
    from mihomo_tproxy.matcher.range_table import AddressLayout, NumberLayout
    from mihomo_tproxy.model.interfaces import Rule
    from mihomo_tproxy.rule.listed import Candidate

NEVER: Final = 1 << 62


class Segment(NamedTuple):
    """The destination addresses of a part of the list."""

    start: int
    """No rule of an earlier rank is in it."""
    lowest: int
    """The lowest rank in it."""
    layout: AddressLayout


class Header(NamedTuple):
    """What is not an array."""

    targets: tuple[str, ...]
    lists: tuple[tuple[int, ...], ...]
    """`matcher.ranked`."""
    fields: int
    """Everything that any of the rules looks at."""
    resolves_at: int
    """The first rank whose rule asks for an address whenever it is reached; NEVER without one."""
    domains: DomainLayout | None
    parts: PartIndex
    """Of keywords the rank; of parts that names must have for rules the group (`HINTED`)."""
    asked: tuple[tuple[tuple[int, Candidate], ...], ...]
    """Groups of rules that are asked about names that have their clue (`rule.clues`)."""
    segments: tuple[Segment, ...]
    sources: AddressLayout | None
    ports: NumberLayout | None
    source_ports: NumberLayout | None
    others: tuple[tuple[int, Rule], ...]
    """Rules to be asked one by one, with ranks, ascending."""
    target_of: int
    """Section: number of the target of each rank, -1 as all ones for several; then of DIRECT."""
    depends: int
    """Section: fields for each rank, then of no match."""
    line_of: int
    """Section: the place in the written list, of each rank."""
    line_ends: int
    """Section: where each written line ends in `text`."""
    text: int


class Image:
    """An image, mapped."""

    def __init__(self, data: bytes | mmap) -> None:
        self.sections = Sections(data)
        header: Header = _Unpickler(BytesIO(self.sections.header), self.sections).load()
        self.header = header
        self.target_of = self.sections.array(header.target_of, "I")
        self.depends = self.sections.array(header.depends, "H")
        self._line_of = self.sections.array(header.line_of, "I")
        self._line_ends = self.sections.array(header.line_ends, "I")

    def line_number(self, rank: int) -> int:
        """The place of a rank's rule in the written list."""
        return self._line_of[rank]

    def line(self, number: int) -> str:
        """A rule of the written list: `KIND,payload,target`."""
        offset, _ = self.sections.place(self.header.text)
        start = self._line_ends[number - 1] if number else 0
        return bytes(self.sections.data[offset + start : offset + self._line_ends[number]]).decode()


def map_image(descriptor: int) -> Image:
    """The rules' image behind a descriptor, which is closed."""
    try:
        return Image(mmap(descriptor, 0, prot=PROT_READ))
    finally:
        os.close(descriptor)


class _Unpickler(pickle.Unpickler):
    """Puts views in the place of large sets."""

    def __init__(self, memory: BytesIO, sections: Sections) -> None:
        super().__init__(memory)
        self._sections = sections

    def persistent_load(self, pid: Any) -> object:
        """A view of a flat set."""
        kind, flat = pid
        if kind == "domains":
            return FlatDomainSet(self._sections, flat)
        return FlatCidrSet(self._sections, flat)
