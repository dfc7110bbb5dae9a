"""All that is not on a list."""

from __future__ import annotations

import pickle

import pytest

from mihomo_tproxy.geo.inverse import outside_domains, outside_ranges
from mihomo_tproxy.matcher.cidr_set import CidrSet
from mihomo_tproxy.matcher.domain_set import DomainSet

LAST = (1 << 128) - 1


def test_names():
    outside = outside_domains("!cn", DomainSet(["+.cn", "example.com"]))
    for each in (outside, pickle.loads(pickle.dumps(outside))):  # noqa: S301
        assert "a.cn" not in each
        assert "example.com" not in each
        assert "www.example.com" in each
        assert "" not in each
        assert each.expressions[0].pattern == "!cn"


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
