"""From a rule list to its image (`rule.image`): every rule goes where it is found fastest.

For short-lived processes: this is where the rules are objects.
"""

from __future__ import annotations

import pickle
from array import array
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from mihomo_tproxy.matcher.cidr_set import CidrSet
from mihomo_tproxy.matcher.domain_set import DomainSet
from mihomo_tproxy.matcher.domain_table import NAME, SUFFIX, DomainTableBuilder
from mihomo_tproxy.matcher.flat_sets import write_cidr_set, write_domain_set
from mihomo_tproxy.matcher.parts import PartIndex
from mihomo_tproxy.matcher.range_table import write_addresses, write_numbers
from mihomo_tproxy.matcher.ranked import HINTED, Ranking
from mihomo_tproxy.matcher.sections import SectionWriter
from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.address import AddressRule
from mihomo_tproxy.rule.chain import all_depends, chain
from mihomo_tproxy.rule.clues import clue_of, take_apart
from mihomo_tproxy.rule.domain import Domain
from mihomo_tproxy.rule.domain_keyword import DomainKeyword
from mihomo_tproxy.rule.domain_list import DomainListRule
from mihomo_tproxy.rule.domain_suffix import DomainSuffix
from mihomo_tproxy.rule.image import NEVER, Header, Segment
from mihomo_tproxy.rule.port import Port

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from mihomo_tproxy.matcher.range_table import Range
    from mihomo_tproxy.model.interfaces import Rule
    from mihomo_tproxy.rule.chain import Link
    from mihomo_tproxy.rule.clues import Clue
    from mihomo_tproxy.rule.listed import Candidate

_FLAT_FROM: Final = 64
"""Sets inside of rules with fewer entries stay objects."""


class Builder:
    """Takes a rule list apart."""

    def __init__(self, rules: Iterable[Rule], conditional: Collection[str]) -> None:
        rules = list(rules)
        self._writer = SectionWriter()
        self._lines = rules
        self._conditional = frozenset(conditional)
        self._links = list(chain(rules, 0, self._conditional))
        numbers = {"DIRECT": 0}
        targets = [_only(link.rule, numbers) for link in self._links]
        self._targets = tuple(numbers)
        self._target_of = targets
        passable = frozenset(numbers[name] for name in self._conditional if name in numbers)
        self._ranking = Ranking(targets, passable)
        self._domains = DomainTableBuilder(self._ranking)
        self._parts: list[tuple[str, int]] = []
        self._asked: list[tuple[tuple[int, Candidate], ...]] = []
        self._by_domain: dict[str, list[tuple[int, Candidate]]] = {}
        self._destinations: list[Range] = []
        self._sources: list[Range] = []
        self._ports: list[Range] = []
        self._source_ports: list[Range] = []
        self._others: list[tuple[int, Rule]] = []
        self._resolving: list[int] = []
        self._resolves_at = NEVER

    def build(self) -> bytes:
        """The image."""
        for rank, link in enumerate(self._links):
            self._add(rank, link.rule)
        for domain, group in self._by_domain.items():
            self._domains.hint(domain, len(self._asked))
            self._asked.append(tuple(group))
        writer, ranking = self._writer, self._ranking
        ends, text = _texts(self._lines)
        header = Header(
            targets=self._targets,
            fields=_union(self._links),
            resolves_at=self._resolves_at,
            domains=self._domains.build(writer),
            parts=PartIndex(self._parts),
            asked=tuple(self._asked),
            segments=self._segments(),
            sources=write_addresses(writer, self._sources, ranking) if self._sources else None,
            ports=write_numbers(writer, self._ports, ranking) if self._ports else None,
            source_ports=(
                write_numbers(writer, self._source_ports, ranking) if self._source_ports else None
            ),
            others=tuple(self._others),
            target_of=writer.add(
                array("I", [number & 0xFFFFFFFF for number in [*self._target_of, 0]]).tobytes()
            ),
            depends=writer.add(array("H", all_depends(self._links)).tobytes()),
            line_of=writer.add(array("I", [link.line for link in self._links]).tobytes()),
            line_ends=writer.add(ends),
            text=writer.add(text),
            lists=tuple(ranking.lists),
        )
        return writer.finish(self._pickled(header))

    def _add(self, rank: int, rule: Rule) -> None:
        if isinstance(rule, DomainSuffix):
            self._domains.add(SUFFIX, rule.suffix, rank)
        elif isinstance(rule, Domain):
            self._domains.add(NAME, rule.domain, rank)
        elif isinstance(rule, AddressRule):
            self._add_address(rank, rule)
        elif isinstance(rule, Port) and rule.fields != fields.INBOUND:
            ports = self._ports if rule.fields == fields.DST_PORT else self._source_ports
            ports.extend((first, last, rank) for first, last in rule.ranges)
        elif isinstance(rule, DomainKeyword):
            self._parts.append((rule.keyword, rank))
        elif isinstance(rule, DomainListRule):
            self._add_domains(rank, rule)
        elif clue := clue_of(rule):
            self._ask(rank, clue, rule)
        else:
            self._others.append((rank, rule))
            if rule.resolves and rank < self._resolves_at:
                self._resolving.append(rank)

    def _add_address(self, rank: int, rule: AddressRule) -> None:
        found = ((first, last, rank) for first, last in rule.ranges.ranges())
        if rule.fields == fields.SRC_ADDR:
            self._sources.extend(found)
            return
        self._destinations.extend(found)
        if rule.resolves:
            self._resolves_at = min(self._resolves_at, rank)

    def _add_domains(self, rank: int, rule: DomainListRule) -> None:
        domains = rule.domains
        self._domains.add_set(domains, rank)
        self._parts.extend((keyword, rank) for keyword in domains.keywords)
        clued, rest = take_apart(domains)
        for clue, candidate in clued:
            self._ask(rank, clue, candidate)
        if len(rest):
            self._others.append((rank, DomainListRule(rule.kind, rule.payload, rule.target, rest)))

    def _ask(self, rank: int, clue: Clue, candidate: Candidate) -> None:
        if clue.domain:
            self._by_domain.setdefault(clue.domain, []).append((rank, candidate))
        else:
            self._parts.append((clue.part, HINTED + len(self._asked)))
            self._asked.append(((rank, candidate),))

    def _segments(self) -> tuple[Segment, ...]:
        """The list is cut where a flow may get its address; from `resolves_at` on it has it."""
        cuts = sorted({0, *self._resolving, min(self._resolves_at, len(self._links))})
        segments: list[Segment] = []
        for place, start in enumerate(cuts):
            end = cuts[place + 1] if place + 1 < len(cuts) else NEVER
            part = [each for each in self._destinations if start <= each[2] < end]
            if part:
                layout = write_addresses(self._writer, part, self._ranking)
                segments.append(Segment(start, min(rank for _, _, rank in part), layout))
        return tuple(segments)

    def _pickled(self, header: Header) -> bytes:
        memory = BytesIO()
        _Pickler(memory, self._writer).dump(header)
        return memory.getvalue()


def build_image(rules: Iterable[Rule], conditional: Collection[str] = ()) -> bytes:
    """The image of a rule list.

    Args:
        conditional: targets that may turn out to be unusable for a flow; then the next rule that
            matches decides.
    """
    return Builder(rules, conditional).build()


def _only(rule: Rule, numbers: dict[str, int]) -> int:
    """The number of a rule's target; -1 when it has several."""
    targets = rule.targets()
    for target in targets:
        numbers.setdefault(target, len(numbers))
    return numbers[targets[0]] if len(targets) == 1 else -1


def _union(links: Iterable[Link]) -> int:
    union = 0
    for link in links:
        union |= link.rule.fields
    return union


def _texts(rules: Iterable[Rule]) -> tuple[bytes, bytes]:
    ends, pieces, total = array("I"), [], 0
    for rule in rules:
        kind, payload, target = rule.kind, rule.payload, rule.target
        whole = f"{kind},{payload},{target}" if payload and target else repr(rule)
        text = whole.encode("utf-8", "replace")
        total += len(text)
        ends.append(total)
        pieces.append(text)
    return ends.tobytes(), b"".join(pieces)


class _Pickler(pickle.Pickler):
    """Takes large sets out of a pickle and writes them flat."""

    def __init__(self, memory: BytesIO, writer: SectionWriter) -> None:
        super().__init__(memory, pickle.HIGHEST_PROTOCOL)
        self._writer = writer
        self._written: dict[int, object] = {}

    def persistent_id(self, obj: Any) -> object:
        """The flat form of a set, once for each object."""
        if not isinstance(obj, DomainSet | CidrSet) or len(obj) < _FLAT_FROM:
            return None
        flat = self._written.get(id(obj))
        if flat is None:
            if isinstance(obj, DomainSet):
                flat = ("domains", write_domain_set(self._writer, obj))
            else:
                flat = ("addresses", write_cidr_set(self._writer, obj))
            self._written[id(obj)] = flat
        return flat
