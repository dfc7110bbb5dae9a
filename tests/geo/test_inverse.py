"""Every address that is not on a list."""

from __future__ import annotations

import pytest

from mihomo_tproxy.geo.inverse import outside_ranges
from mihomo_tproxy.matcher.cidr_set import CidrSet

LAST = (1 << 128) - 1


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        ([], [(0, LAST)]),
        ([(0, LAST)], []),
        ([(0, 4)], [(5, LAST)]),
        ([(5, LAST)], [(0, 4)]),
        ([(5, 6), (8, 9)], [(0, 4), (7, 7), (10, LAST)]),
    ],
)
def test_addresses(inside, outside):
    assert list(outside_ranges(CidrSet.of_ranges(inside)).ranges()) == outside
