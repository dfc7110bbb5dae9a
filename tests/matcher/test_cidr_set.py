"""CidrSet against a list that is searched one by one."""

from __future__ import annotations

import pickle

from hypothesis import given, settings
from hypothesis import strategies as st

from mihomo_tproxy.matcher.cidr import EVERYTHING, masked, parse_cidr
from mihomo_tproxy.matcher.cidr_set import CidrSet
from mihomo_tproxy.model.address import address_key

# Few distinct high bits, so that prefixes nest and touch.
KEYS = st.builds(
    lambda high, low: high << 120 | low, st.integers(0, 3), st.sampled_from([0, 1, 255, 2**119])
)
PREFIXES = st.builds(masked, KEYS, st.integers(0, 128))


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.lists(PREFIXES, max_size=12), st.lists(KEYS, min_size=1, max_size=12))
def test_agrees_with_a_slow_list(prefixes: list, keys: list[int]) -> None:
    fast = CidrSet(prefixes)
    edges = [edge for p in prefixes for edge in (p.key, p.last, p.key - 1, p.last + 1)]
    for key in [*keys, *(edge for edge in edges if 0 <= edge < 1 << 128)]:
        assert (key in fast) == any(p.key <= key <= p.last for p in prefixes)


def test_adjacent_ranges_become_one() -> None:
    halves = [*parse_cidr("10.0.0.0/9"), *parse_cidr("10.128.0.0/9")]
    assert len(CidrSet(halves)) == 1
    assert len(CidrSet([*halves, *parse_cidr("12.0.0.0/8")])) == 2


def test_empty_and_everything() -> None:
    assert 0 not in CidrSet()
    assert (1 << 128) - 1 in CidrSet([EVERYTHING])


def test_v6_all_is_two_ranges_around_v4() -> None:
    assert len(CidrSet(parse_cidr("::/0"))) == 2


def test_pickles() -> None:
    copy = pickle.loads(pickle.dumps(CidrSet(parse_cidr("10.0.0.0/8"))))  # noqa: S301
    assert address_key("10.9.9.9") in copy
