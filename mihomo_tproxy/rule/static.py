"""What follows from the rules alone, before any flow is seen: for the kernel's tables.

`static_prefixes` gives address prefixes with verdicts for a longest-prefix-match table. Invariant:
where the table's longest match says DIRECT or DROP, the engine decides so for every flow to that
address, whatever its other fields. UNKNOWN keeps a shorter prefix off: user space decides, or has
decided before, and the cache knows. First match and longest match are reconciled so: a prefix
inside one of an earlier rule is left out, for the earlier rule wins; a prefix around one of an
earlier rule is no conflict, for the longer one wins the look-up.

Which outbound the kernel can stand in for from the start: the built-in DIRECT. A group's choice
changes, a proxy of type `direct` may have socket options: of these the cache learns. REJECT answers
the client, which user space does; REJECT-DROP needs no answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from mihomo_tproxy.matcher.cidr import EVERYTHING, Prefix, prefixes_of
from mihomo_tproxy.model import fields
from mihomo_tproxy.model.enums import TunnelMode, Verdict
from mihomo_tproxy.rule.address import AddressRule
from mihomo_tproxy.rule.chain import all_depends, chain, steered_constants
from mihomo_tproxy.rule.engine import MODE_TARGETS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from mihomo_tproxy.model.interfaces import Rule
    from mihomo_tproxy.rule.chain import Link

MAX_PREFIXES: Final = 65536
"""Prefixes beyond this are left to user space to decide."""

_VERDICTS: Final = {
    "DIRECT": Verdict.DIRECT,
    "COMPATIBLE": Verdict.DIRECT,
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
    """What the kernel may do with a flow for this outbound, whatever was chosen since."""
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
    links = chain(rules, steered_constants(names_observed=names_observed, local=local), conditional)
    ranked: dict[Prefix, int] = {}
    verdicts: list[Verdict] = []
    for prefixes, verdict in _decided(links):
        for prefix in prefixes:
            ranked.setdefault(prefix, len(verdicts))
        verdicts.append(verdict)
        if len(ranked) > limit * 2:
            break
    kept = _uncovered(ranked)[:limit]
    return [StaticVerdict(*prefix, verdicts[rank]) for prefix, rank in kept]


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
    seen = {depends & ~constant for depends in all_depends(links, conditional)}
    if any(not link.depends and _is_open(link) for link in steered):
        seen.add(fields.NETWORK)
    cacheable = fields.PACKET & ~fields.SRC_PORT
    return tuple(
        sorted((mask for mask in seen if mask and not mask & ~cacheable), key=int.bit_count)
    )


def _is_open(link: Link) -> bool:
    return any(verdict_of(target) is Verdict.UNKNOWN for target in link.rule.targets())


def _decided(links: Iterable[Link]) -> Iterator[tuple[Iterable[Prefix], Verdict]]:
    """Prefixes in the order of their rules, up to the first rule that needs more than them."""
    for link in links:
        rule = link.rule
        targets = rule.targets()
        verdict = verdict_of(targets[0]) if len(targets) == 1 else Verdict.UNKNOWN
        if link.always or rule.fields == 0:
            yield (EVERYTHING,), verdict
            return
        if not isinstance(rule, AddressRule) or rule.fields != fields.DST_ADDR:
            return
        yield (prefix for span in rule.ranges.ranges() for prefix in prefixes_of(*span)), verdict
    yield (EVERYTHING,), Verdict.DIRECT


def _uncovered(ranked: dict[Prefix, int]) -> list[tuple[Prefix, int]]:
    """Prefixes that lie in none of an earlier rank, by rank.

    Prefixes nest or are apart: sorted by address, the open ones around the next are a stack.
    """
    kept: list[tuple[Prefix, int]] = []
    around: list[tuple[int, int]] = []
    for prefix, rank in sorted(ranked.items()):
        while around and around[-1][0] < prefix.key:
            around.pop()
        lowest = around[-1][1] if around else rank
        if rank <= lowest:
            kept.append((prefix, rank))
        around.append((prefix.last, min(rank, lowest)))
    return sorted(kept, key=lambda each: each[1])
