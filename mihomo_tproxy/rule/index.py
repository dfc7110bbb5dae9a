"""Rules of one kind, indexed: which of them is the first that matches a flow.

An index holds every rule of its kind wherever it stands in the list, and answers with a rank (the
rule's place), so the first match of the whole list is the lowest rank of all indexes. That costs
one look-up per kind in use, not one per rule; each address is converted once.
Invariant: `first(metadata, bound)` is the lowest rank below `bound` among the matching rules of the
index, else some number >= `bound`; `lowest` is the lowest rank it can ever answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from mihomo_tproxy.matcher.interval_map import NO_RANK, IntervalMap
from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.domain import Domain
from mihomo_tproxy.rule.domain_suffix import DomainSuffix
from mihomo_tproxy.rule.ip_cidr import IpCidr
from mihomo_tproxy.rule.port import Port

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mihomo_tproxy.model.interfaces import Rule
    from mihomo_tproxy.model.metadata import Metadata

Ranges = list[tuple[int, int, int]]


class Index(Protocol):
    """All rules of one kind."""

    lowest: int

    def first(self, metadata: Metadata, bound: int) -> int:
        """The lowest rank below `bound` that matches, else a number not below `bound`."""


class _RangeIndex:
    __slots__ = ("_map", "lowest")

    def __init__(self, ranges: Ranges) -> None:
        self.lowest = min(rank for _, _, rank in ranges)
        self._map = IntervalMap(ranges)


class DestinationIndex(_RangeIndex):
    """Destination addresses."""

    __slots__ = ()

    def first(self, metadata: Metadata, bound: int) -> int:
        key = metadata.destination_key()
        return bound if key is None else self._map.find(key)


class SourceIndex(_RangeIndex):
    """Source addresses."""

    __slots__ = ()

    def first(self, metadata: Metadata, bound: int) -> int:
        return self._map.find(metadata.source_key())


class DestinationPortIndex(_RangeIndex):
    """Destination ports."""

    __slots__ = ()

    def first(self, metadata: Metadata, bound: int) -> int:
        return self._map.find(metadata.destination_port)


class SourcePortIndex(_RangeIndex):
    """Source ports."""

    __slots__ = ()

    def first(self, metadata: Metadata, bound: int) -> int:
        return self._map.find(metadata.source_port)


class DomainIndex:
    """Whole names and suffixes, by a walk over the labels of the host."""

    __slots__ = ("_names", "_suffixes", "lowest")

    def __init__(self, names: dict[str, int], suffixes: dict[str, int]) -> None:
        self._names = names
        self._suffixes = suffixes
        self.lowest = min(min(table.values()) for table in (names, suffixes) if table)

    def first(self, metadata: Metadata, bound: int) -> int:
        host = metadata.host
        best = min(bound, self._names.get(host, NO_RANK))
        suffixes = self._suffixes
        at = -1
        while True:
            rank = suffixes.get(host[at + 1 :])
            if rank is not None and rank < best:
                best = rank
            at = host.find(".", at + 1)
            if at < 0:
                return best


class ScanIndex:
    """Everything else: the rules one by one, as far as the bound."""

    __slots__ = ("_ranked", "lowest")

    def __init__(self, ranked: list[tuple[int, Rule]]) -> None:
        self._ranked = ranked
        self.lowest = ranked[0][0]

    def first(self, metadata: Metadata, bound: int) -> int:
        for rank, rule in self._ranked:
            if rank >= bound:
                return bound
            if rule.match(metadata):
                return rank
        return bound


_RANGE_INDEXES: Final[dict[int, Callable[[Ranges], Index]]] = {
    fields.DST_ADDR: DestinationIndex,
    fields.SRC_ADDR: SourceIndex,
    fields.DST_PORT: DestinationPortIndex,
    fields.SRC_PORT: SourcePortIndex,
}


def build_indexes(rules: Sequence[Rule]) -> tuple[Index, ...]:
    """Indexes that hold all of the rules, those that can answer the lowest rank first."""
    ranges: dict[int, Ranges] = {}
    names: dict[str, int] = {}
    suffixes: dict[str, int] = {}
    others: list[tuple[int, Rule]] = []
    for rank, rule in enumerate(rules):
        if isinstance(rule, IpCidr):
            found = ((prefix.key, prefix.last, rank) for prefix in rule.prefixes)
            ranges.setdefault(rule.fields, []).extend(found)
        elif isinstance(rule, Port):
            spans = ((first, last, rank) for first, last in rule.ranges)
            ranges.setdefault(rule.fields, []).extend(spans)
        elif isinstance(rule, Domain):
            names.setdefault(rule.domain, rank)
        elif isinstance(rule, DomainSuffix):
            suffixes.setdefault(rule.suffix, rank)
        else:
            others.append((rank, rule))
    indexes: list[Index] = [_RANGE_INDEXES[field](found) for field, found in ranges.items()]
    if names or suffixes:
        indexes.append(DomainIndex(names, suffixes))
    if others:
        indexes.append(ScanIndex(others))
    return tuple(sorted(indexes, key=lambda index: index.lowest))
