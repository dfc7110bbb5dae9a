"""What follows from the rules alone, before any flow is seen: for the kernel's tables.

`static_prefixes` gives address prefixes with verdicts for a longest-prefix-match table. Invariant:
where the table's longest match says DIRECT or DROP, the engine decides so for every flow to that
address, whatever its other fields. UNKNOWN, as no match, means that user space decides, or has
decided before, and the cache knows. First match and longest match are reconciled so: the rules'
ranges become disjoint pieces, each with the verdict of the first rule; what is left has that of the
rule that matches everything, as one prefix around all, and pieces of the same verdict need none of
their own.

Which outbound the kernel can stand in for from the start: the built-in DIRECT. A group's choice
changes, a proxy of type `direct` may have socket options: of these the cache learns. REJECT answers
the client, which user space does; REJECT-DROP needs no answer.
"""

from __future__ import annotations

from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from mihomo_tproxy.matcher.cidr import EVERYTHING, prefixes_of
from mihomo_tproxy.matcher.range_table import flatten
from mihomo_tproxy.matcher.ranked import NO_VALUE, OneRank
from mihomo_tproxy.model import fields
from mihomo_tproxy.model.enums import TunnelMode, Verdict
from mihomo_tproxy.rule.address import AddressRule
from mihomo_tproxy.rule.chain import all_depends, chain, steered_constants
from mihomo_tproxy.rule.engine import MODE_TARGETS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from mihomo_tproxy.matcher.range_table import Range
    from mihomo_tproxy.model.interfaces import Rule
    from mihomo_tproxy.rule.chain import Link

MAX_PREFIXES: Final = 65536
"""Prefixes beyond this are left to user space to decide."""

_VERDICTS: Final = {
    "DIRECT": Verdict.DIRECT,
    "REJECT-DROP": Verdict.DROP,
}


class StaticVerdict(NamedTuple):
    """One entry of the kernel's longest-prefix-match table."""

    key: int
    """128-bit address key (`model.address`), host bits zero."""
    length: int
    """0 to 128."""
    verdict: Verdict


def verdict_of(target: str) -> Verdict:
    """What the kernel may do by itself with a flow that is decided for this outbound."""
    return _VERDICTS.get(target, Verdict.UNKNOWN)


def static_prefixes(
    rules: Iterable[Rule],
    mode: TunnelMode,
    *,
    names_observed: bool,
    local: bool = True,
    conditional: Collection[str] = (),
    limit: int = MAX_PREFIXES,
) -> list[StaticVerdict]:
    """The prefixes whose verdict follows from the rules alone, at most `limit` of them.

    What no prefix covers is decided by user space.
    """
    if mode is not TunnelMode.RULE:
        return [StaticVerdict(*EVERYTHING, verdict_of(MODE_TARGETS[mode]))]
    constant = steered_constants(names_observed=names_observed, local=local)
    ranges, verdicts, default = _decided(chain(rules, constant, conditional))
    around = Verdict.UNKNOWN if default is None else default
    pieces = [piece for piece in _pieces(ranges, verdicts) if piece.verdict is not around]
    pieces.sort(key=attrgetter("rank"))
    prefixes = (
        StaticVerdict(*prefix, piece.verdict)
        for piece in pieces
        for prefix in prefixes_of(piece.first, piece.last)
    )
    table = list(islice(prefixes, limit))
    if around is not Verdict.UNKNOWN and len(table) < limit:
        table.append(StaticVerdict(*EVERYTHING, around))
    return table


def masks(
    rules: Iterable[Rule],
    mode: TunnelMode,
    *,
    names_observed: bool,
    local: bool = True,
    conditional: Collection[str] = (),
) -> tuple[int, ...]:
    """The field masks under which decisions of these rules can be cached, each once.

    They are those that the engine finds (`flatten`), which knows no `constant` when it is built,
    without the fields that are constant. They form a chain: each has all fields of the one before.
    Left out are what a packet does not show, and the source port (as good as one entry per flow).
    What depends on nothing is cached by the network, if `static_prefixes` leaves it open.
    """
    if mode is not TunnelMode.RULE:
        return (fields.NETWORK,) if mode is TunnelMode.GLOBAL else ()
    rules = list(rules)
    constant = steered_constants(names_observed=names_observed, local=local)
    steered = list(chain(rules, constant, conditional))
    end = steered[-1].rule if steered and steered[-1].always else None
    links: list[Link] = []
    for link in chain(rules, 0, conditional):
        links.append(link)
        if link.rule is end:
            break
    seen = {depends & ~constant for depends in all_depends(links)}
    if any(not link.depends and _is_open(link) for link in steered):
        seen.add(fields.NETWORK)
    cacheable = fields.PACKET & ~fields.SRC_PORT
    return tuple(
        sorted((mask for mask in seen if mask and not mask & ~cacheable), key=int.bit_count)
    )


def _is_open(link: Link) -> bool:
    return any(verdict_of(target) is Verdict.UNKNOWN for target in link.rule.targets())


class _Piece(NamedTuple):
    """Addresses without a gap that meet the same verdict."""

    first: int
    last: int
    rank: int
    """The earliest rule that decides for any of them."""
    verdict: Verdict


def _decided(links: Iterable[Link]) -> tuple[list[Range], list[Verdict], Verdict | None]:
    """Ranges and verdicts of the rules before the first that needs more than an address.

    The last is the verdict for all other addresses, None if that rule came.
    """
    ranges: list[Range] = []
    verdicts: list[Verdict] = []
    for rank, link in enumerate(links):
        rule = link.rule
        targets = rule.targets()
        verdict = verdict_of(targets[0]) if len(targets) == 1 else Verdict.UNKNOWN
        if link.always or rule.fields == 0:
            return ranges, verdicts, verdict
        if not isinstance(rule, AddressRule) or rule.fields != fields.DST_ADDR:
            return ranges, verdicts, None
        ranges.extend((first, last, rank) for first, last in rule.ranges.ranges())
        verdicts.append(verdict)
    return ranges, verdicts, Verdict.DIRECT


def _pieces(ranges: Iterable[Range], verdicts: Sequence[Verdict]) -> Iterator[_Piece]:
    """Disjoint pieces; neighbours differ in verdict."""
    starts, ranks = flatten(ranges, OneRank())
    first, lowest = 0, NO_VALUE
    verdict: Verdict | None = None
    for start, rank in zip(starts, ranks, strict=True):
        found = None if rank == NO_VALUE else verdicts[rank]
        if found is verdict:
            lowest = min(lowest, rank)
            continue
        if verdict is not None:
            yield _Piece(first, start - 1, lowest, verdict)
        first, lowest, verdict = start, rank, found
