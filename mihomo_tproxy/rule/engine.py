"""The rule engine: which outbound a flow takes, and what that followed from.

Proof obligation. The kernel caches a decision under the values of the fields `Decision.depends`,
and answers for every later flow that has the same values; it must never answer otherwise than this
engine would. It cannot, because
1. a rule's `match` reads nothing but the fields it names in `fields` (each rule kind's duty);
2. `depends` of the decision by the rule of rank i is the union of the `fields` of the rules 0..i,
   those that did not match included, and the network if one of them has a target that may be passed
   over for want of UDP; of "no rule matched" it is the union over all (`rule.chain`);
3. so two flows that agree in these fields get the same answer from each of the rules 0..i, pass
   over the same targets, and meet the same decision, as long as the groups choose the same. When a
   choice changes, every cached verdict is void (a new epoch, `dataplane.verdicts`).
An unknown destination address counts as a value of its own; an address that was asked for by name
follows from the name, and DOMAIN is among the fields of that decision. Fields that cannot differ
between the flows an engine decides (`constant`) are left out.

A flow that only has a name is decided without its address as long as no rule that is reached needs
it. The first one that does raises NeedsAddress: whoever asked resolves the name, writes the answer
into `Metadata.resolved`, and asks again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mihomo_tproxy.matcher.domain_table import DomainTable
from mihomo_tproxy.matcher.range_table import AddressTable, NumberTable
from mihomo_tproxy.matcher.ranked import HINTED, LISTED, NO_VALUE
from mihomo_tproxy.model.enums import TunnelMode
from mihomo_tproxy.model.metadata import Decision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mihomo_tproxy.matcher.range_table import NumberLayout
    from mihomo_tproxy.model.interfaces import Rule
    from mihomo_tproxy.model.metadata import Metadata
    from mihomo_tproxy.rule.image import Image

_decision: Final = tuple.__new__
"""Half the time of calling the named tuple."""
MODE_TARGETS: Final = {TunnelMode.DIRECT: "DIRECT", TunnelMode.GLOBAL: "GLOBAL"}


class Engine:
    """Decides flows by the first rule that matches, in file order; without one, DIRECT."""

    __slots__ = (
        "_asked",
        "_asked_singly",
        "_constant",
        "_depends",
        "_domains",
        "_fixed",
        "_image",
        "_last",
        "_lists",
        "_numbers",
        "_others",
        "_otherwise",
        "_parts",
        "_ports",
        "_resolves_at",
        "_segments",
        "_source_ports",
        "_sources",
        "_target_of",
        "_targets",
        "fields",
    )  # fmt: skip

    def __init__(
        self, image: Image, mode: TunnelMode = TunnelMode.RULE, *, constant: int = 0
    ) -> None:
        """`direct` and `global` send everything to DIRECT or GLOBAL and ask no rule.

        `constant`: fields in which the flows that are asked about cannot differ.
        """
        header, sections = image.header, image.sections
        target = MODE_TARGETS.get(mode)
        self._fixed = Decision(target, -1, 0) if target else None
        self._image = image
        self.fields = 0 if target else header.fields & ~constant
        """Everything that any rule looks at and flows can differ in."""
        self._constant = ~constant
        self._targets, self._target_of = header.targets, image.target_of
        self._depends = image.depends
        self._otherwise = len(self._depends) - 1
        self._lists = header.lists
        self._domains = DomainTable(sections, header.domains) if header.domains else None
        self._parts = header.parts if len(header.parts) else None
        self._asked = header.asked
        self._others = header.others
        self._last = next(
            (rank for rank, rule in header.others if _takes_everything(rule)), self._otherwise
        )
        """The first rule that takes everything: what is behind it comes only if it is unusable."""
        self._asked_singly = [each for each in header.others if each[0] < self._last]
        self._resolves_at = header.resolves_at
        self._segments = [
            (each.start, each.lowest, AddressTable(sections, each.layout))
            for each in header.segments
        ]
        self._sources = AddressTable(sections, header.sources) if header.sources else None

        def numbers(layout: NumberLayout | None) -> NumberTable | None:
            return NumberTable(sections, layout) if layout else None

        self._ports, self._source_ports = numbers(header.ports), numbers(header.source_ports)
        self._numbers = any((header.sources, header.ports, header.source_ports))

    def match(self, metadata: Metadata) -> Decision:
        """The decision for a flow.

        Raises:
            NeedsAddress: it depends on the address of the flow's name; see the module.
        """
        if self._fixed is not None:
            return self._fixed
        if metadata.resolved is not None:
            metadata.destination = ""
        best = self._last
        if metadata.host:
            best = self._by_name(metadata, best)
        if self._numbers:
            best = self._by_ports_and_source(metadata, best)
        if not metadata.destination:
            return self._by_late_address(metadata, best)
        key = metadata.destination_key() if self._segments else None
        if key is not None:
            for _, lowest, table in self._segments:
                if lowest < best:
                    value = table.find(key)
                    if value < best:
                        best = value
                    elif value != NO_VALUE:
                        best = self._lower(value, best)
        for rank, rule in self._asked_singly:
            if rank >= best:
                break
            target = rule.decide(metadata)
            if target:
                return Decision(target, rank, self._depends[rank] & self._constant)
        return self._decision(best)

    def match_usable(self, metadata: Metadata, usable: Callable[[str], bool]) -> Decision:
        """As `match`, but a rule whose target is not usable for this flow is passed over."""
        if self._fixed is not None:
            return self._fixed
        if metadata.resolved is not None:
            metadata.destination = ""
        for rank, target in self.matches(metadata):
            if usable(target):
                return Decision(target, rank, self._depends[rank] & self._constant)
        return self._decision(self._otherwise)

    def line(self, rank: int) -> str:
        """The rule of a decision as it was written: `KIND,payload,target`."""
        return self._image.line(self._image.line_number(rank))

    def line_number(self, rank: int) -> int:
        """Where that rule stands in the list, from 0."""
        return self._image.line_number(rank)

    def _decision(self, rank: int) -> Decision:
        depends = self._depends[rank] & self._constant
        if rank == self._otherwise:
            return Decision("DIRECT", -1, depends)
        return _decision(Decision, (self._targets[self._target_of[rank]], rank, depends))

    def _lower(self, value: int, best: int) -> int:
        if value < best:
            return value
        if LISTED <= value != NO_VALUE:
            return min(self._lists[value - LISTED][0], best)
        return best

    def _by_name(self, metadata: Metadata, best: int) -> int:
        values = self._domains.hits(metadata.host) if self._domains is not None else []
        if self._parts is not None:
            values += self._parts.find(metadata.host)
        hinted = False
        for value in values:
            if value < best:
                best = value
            elif value >= HINTED:
                hinted = True
            elif value >= LISTED:
                best = min(self._lists[value - LISTED][0], best)
        if hinted:
            for rank in self._clued(metadata, values, best):
                best = min(rank, best)
        return best

    def _clued(self, metadata: Metadata, values: list[int], best: int = NO_VALUE) -> list[int]:
        """Ranks below `best` of rules that match and whose clues are among the values."""
        return [
            rank
            for value in values
            if value >= HINTED
            for rank, candidate in self._asked[value - HINTED]
            if rank < best and candidate.match(metadata)
        ]

    def _by_ports_and_source(self, metadata: Metadata, best: int) -> int:
        if self._ports is not None:
            best = self._lower(self._ports.find(metadata.destination_port), best)
        if self._source_ports is not None:
            best = self._lower(self._source_ports.find(metadata.source_port), best)
        if self._sources is not None:
            best = self._lower(self._sources.find(metadata.source_key()), best)
        return best

    def _by_late_address(self, metadata: Metadata, best: int) -> Decision:
        """The rest of `match` for a flow without an address: it may get one on the way."""
        named, known = bool(metadata.host), False
        resolves_at = self._resolves_at
        for rank, rule in self._others:
            if rank >= best:
                break
            if named and not known and resolves_at <= rank:
                known = True
                best = self._resolve(metadata, resolves_at, best)
                if rank >= best:
                    break
            target = rule.decide(metadata)
            if target:
                return Decision(target, rank, self._depends[rank] & self._constant)
            if not known and metadata.destination:
                known = True
                best = self._by_address_from(metadata, rank, best)
        if named and not known and resolves_at < best:
            best = self._resolve(metadata, resolves_at, best)
        return self._decision(best)

    def _resolve(self, metadata: Metadata, rank: int, best: int) -> int:
        if metadata.resolved_key() is None:
            return best
        return self._by_address_from(metadata, rank, best)

    def _by_address_from(self, metadata: Metadata, start: int, best: int) -> int:
        key = metadata.destination_key()
        if key is not None:
            for at, lowest, table in self._segments:
                if at >= start and lowest < best:
                    best = self._lower(table.find(key), best)
        return best

    def matches(self, metadata: Metadata) -> Iterator[tuple[int, str]]:
        """Rank and target of every rule that matches, in order, whatever the mode.

        As far as the tables know of them: of those that have the same name, address or port and the
        same target only the first counts, unless the target may be unusable. Raises as `match`.
        """
        asked = bool(metadata.destination) or not metadata.host
        waiting = self._table_ranks(metadata)
        resolves_at = self._resolves_at
        for other, rule in (*self._others, (self._otherwise, None)):
            if not asked and resolves_at <= other:
                yield from self._taken(waiting, resolves_at)
                asked = True
                if metadata.resolved_key() is not None:
                    waiting = sorted({*waiting, *self._address_ranks(metadata, resolves_at)})
            yield from self._taken(waiting, other + 1)
            if rule is None:
                return
            target = rule.decide(metadata)
            if target:
                yield other, target
            if not asked and metadata.destination:
                asked = True
                waiting = sorted({*waiting, *self._address_ranks(metadata, other)})

    def _taken(self, ranks: list[int], end: int) -> Iterator[tuple[int, str]]:
        while ranks and ranks[0] < end:
            rank = ranks.pop(0)
            yield rank, self._targets[self._target_of[rank]]

    def _table_ranks(self, metadata: Metadata) -> list[int]:
        values: list[int] = []
        if metadata.host:
            if self._domains is not None:
                values += self._domains.hits(metadata.host)
            if self._parts is not None:
                values += self._parts.find(metadata.host)
            values += self._clued(metadata, values)
        if self._ports is not None:
            values.append(self._ports.find(metadata.destination_port))
        if self._source_ports is not None:
            values.append(self._source_ports.find(metadata.source_port))
        if self._sources is not None:
            values.append(self._sources.find(metadata.source_key()))
        return sorted(self._ranks_of(values) | self._address_ranks(metadata, 0))

    def _address_ranks(self, metadata: Metadata, start: int) -> set[int]:
        key = metadata.destination_key()
        if key is None:
            return set()
        return self._ranks_of([table.find(key) for at, _, table in self._segments if at >= start])

    def _ranks_of(self, values: list[int]) -> set[int]:
        found: set[int] = set()
        for value in values:
            if value < LISTED:
                found.add(value)
            elif value < NO_VALUE:
                found.update(self._lists[value - LISTED])
        return found


def _takes_everything(rule: Rule) -> bool:
    """What looks at nothing and is in an image matches."""
    return not rule.fields and len(rule.targets()) == 1
