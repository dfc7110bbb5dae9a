"""`GEOIP,!code`: every address that is not on a list."""

from __future__ import annotations

from mihomo_tproxy.matcher.cidr_set import CidrSet

_LAST_KEY = (1 << 128) - 1


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
