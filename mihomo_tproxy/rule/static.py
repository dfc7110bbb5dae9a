"""What follows from the rules alone, before any flow is seen: for the kernel's tables.

`static_prefixes` gives address prefixes with verdicts for a longest-prefix-match table. Invariant:
where the table's longest match says DIRECT or DROP, the engine decides so for every flow to that
address, whatever its other fields. PROXY means that user space decides. First match and longest
match are reconciled so: a prefix inside one of an earlier rule is left out, for the earlier rule
wins; a prefix around one of an earlier rule is no conflict, for the longer one wins the look-up.

Which outbound the kernel can stand in for: the built-in DIRECT, and GLOBAL, which is DIRECT while
there is no group to select from. A proxy of type `direct` goes to user space, for its socket
options. REJECT answers the client, which user space does; REJECT-DROP needs no answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from mihomo_tproxy.matcher.cidr import EVERYTHING, Prefix, masked
from mihomo_tproxy.model import fields
from mihomo_tproxy.model.enums import TunnelMode, Verdict
from mihomo_tproxy.rule.chain import chain
from mihomo_tproxy.rule.ip_cidr import IpCidr

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mihomo_tproxy.model.interfaces import Rule

MAX_PREFIXES: Final = 65536
"""Prefixes beyond this are left to user space to decide."""

_VERDICTS: Final = {
    "DIRECT": Verdict.DIRECT,
    "GLOBAL": Verdict.DIRECT,
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
    limit: int = MAX_PREFIXES,
) -> list[StaticVerdict]:
    """The prefixes whose verdict follows from the rules alone, at most `limit` of them.

    What no prefix covers is decided by user space.
    """
    if mode is not TunnelMode.RULE:
        target = "DIRECT" if mode is TunnelMode.DIRECT else "GLOBAL"
        return [StaticVerdict(*EVERYTHING, verdict_of(target))]
    found: dict[Prefix, Verdict] = {}
    lengths: set[int] = set()
    for prefix, verdict in _decided(rules, names_observed):
        if any(
            length <= prefix.length and masked(prefix.key, length) in found for length in lengths
        ):
            continue
        if len(found) == limit:
            break
        found[prefix] = verdict
        lengths.add(prefix.length)
    return [StaticVerdict(*prefix, verdict) for prefix, verdict in found.items()]


def masks(rules: Iterable[Rule], mode: TunnelMode, *, names_observed: bool) -> tuple[int, ...]:
    """The field masks under which decisions of these rules can be cached, each once.

    They form a chain: each has all fields of the one before. Left out are what a packet does not
    show, the source port (as good as one entry per flow), and 0 (`static_prefixes` says it all).
    """
    if mode is not TunnelMode.RULE:
        return ()
    seen = {link.depends for link in chain(rules, names_observed=names_observed)}
    cacheable = fields.PACKET & ~fields.SRC_PORT
    return tuple(
        sorted((mask for mask in seen if mask and not mask & ~cacheable), key=int.bit_count)
    )


def _decided(rules: Iterable[Rule], names_observed: bool) -> Iterator[tuple[Prefix, Verdict]]:
    """Prefixes in the order of their rules, up to the first rule that needs more than them."""
    for rule, _, always in chain(rules, names_observed=names_observed):
        if always:
            yield EVERYTHING, verdict_of(rule.target)
            return
        if not isinstance(rule, IpCidr) or rule.fields != fields.DST_ADDR:
            return
        for prefix in rule.prefixes:
            yield prefix, verdict_of(rule.target)
    yield EVERYTHING, Verdict.DIRECT
