"""`!code`: all that is not on a list."""

from __future__ import annotations

from mihomo_tproxy.matcher.cidr_set import CidrSet
from mihomo_tproxy.matcher.domain_set import DomainSet

_LAST_KEY = (1 << 128) - 1


class Outside:
    """A `matcher.domain_set.Expression` that finds the names which are not in a set."""

    __slots__ = ("_domains", "pattern")

    def __init__(self, pattern: str, domains: DomainSet) -> None:
        self.pattern = pattern
        self._domains = domains

    def search(self, name: str, /) -> object | None:
        """The name, if it is not in the set."""
        return None if name in self._domains else name


def outside_domains(pattern: str, domains: DomainSet) -> DomainSet:
    """Every name that is not in the set."""
    outside = DomainSet()
    outside.expressions.append(Outside(pattern, domains))
    return outside


def outside_ranges(ranges: CidrSet) -> CidrSet:
    """Every address that is not in the set, of both families."""
    gaps = []
    start = 0
    for first, last in ranges.ranges():
        if start < first:
            gaps.append((start, first - 1))
        start = last + 1
    if start <= _LAST_KEY:
        gaps.append((start, _LAST_KEY))
    return CidrSet.of_ranges(gaps)
