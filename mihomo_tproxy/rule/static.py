"""What follows from the rules alone, before any flow is seen: for the kernel's tables.

`static_prefixes` gives address prefixes with verdicts for a longest-prefix-match table. Invariant:
where the table's longest match says DIRECT or DROP, the engine decides so for every flow to that
address, whatever its other fields. PROXY means that user space decides; UNKNOWN, and no match, that
it decides unless it left word for such flows: the choice of a group changes. First match and
longest match are reconciled so: the rules' ranges become disjoint pieces, each with the verdict of
the first rule; what is left has that of the rule that matches everything, as one prefix around all,
and pieces of the same verdict need none of their own.

Which outbound the kernel can stand in for: the built-in DIRECT. A proxy of type `direct` goes to
user space, for its socket options. REJECT answers the client, which user space does; REJECT-DROP
needs no answer.
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
from mihomo_tproxy.rule.chain import chain, steered_constants
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
    return _VERDICTS.get(target, Verdict.PROXY)


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
    ranges, verdicts, default = _decided(chain(rules, constant, conditional), conditional)
    implied = {default}
    if default in (None, Verdict.UNKNOWN):
        # Where no prefix decides, user space does.
        implied = {Verdict.UNKNOWN, Verdict.PROXY}
    pieces = [piece for piece in _pieces(ranges, verdicts) if piece.verdict not in implied]
    pieces.sort(key=attrgetter("rank"))
    prefixes = (
        StaticVerdict(*prefix, piece.verdict)
        for piece in pieces
        for prefix in prefixes_of(piece.first, piece.last)
    )
    table = list(islice(prefixes, limit))
    if default is not None and len(table) < limit:
        table.append(StaticVerdict(*EVERYTHING, default))
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

    They form a chain: each has all fields of the one before. Left out are what a packet does not
    show, the source port (as good as one entry per flow), and 0 (`static_prefixes` says it all).
    """
    if mode is not TunnelMode.RULE:
        return ()
    constant = steered_constants(names_observed=names_observed, local=local)
    seen = {link.depends for link in chain(rules, constant, conditional)}
    cacheable = fields.PACKET & ~fields.SRC_PORT
    return tuple(
        sorted((mask for mask in seen if mask and not mask & ~cacheable), key=int.bit_count)
    )


class _Piece(NamedTuple):
    """Addresses without a gap that meet the same verdict."""

    first: int
    last: int
    rank: int
    """The earliest rule that decides for any of them."""
    verdict: Verdict


def _decided(
    links: Iterable[Link], conditional: Collection[str]
) -> tuple[list[Range], list[Verdict], Verdict | None]:
    """Ranges and verdicts of the rules before the first that needs more than an address.

    The last is the verdict for all other addresses, None if that rule came.
    """
    ranges: list[Range] = []
    verdicts: list[Verdict] = []
    for rank, link in enumerate(links):
        rule = link.rule
        targets = rule.targets()
        verdict = verdict_of(targets[0]) if len(targets) == 1 else Verdict.PROXY
        if any(target in conditional for target in targets):
            verdict = Verdict.UNKNOWN
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
