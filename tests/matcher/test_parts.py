"""The index of parts against looking for each text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mihomo_tproxy.matcher.parts import FEW, PartIndex

TEXTS = st.text("ab.", min_size=1, max_size=5)


@settings(deadline=None, derandomize=True, max_examples=400)
@given(
    st.lists(TEXTS, max_size=12),
    st.sampled_from((0, FEW + 1)),
    st.lists(st.text("ab.", max_size=9), min_size=1, max_size=6),
)
def test_finds_what_looking_for_each_finds(texts: list[str], more: int, names: list[str]) -> None:
    texts = texts + [f"never{number}" for number in range(more)]
    index = PartIndex((text, number) for number, text in enumerate(texts))
    assert len(index) == len(texts)
    for name in names:
        wanted = {number for number, text in enumerate(texts) if text in name}
        assert set(index.find(name)) == wanted


@pytest.mark.parametrize("count", [FEW, FEW + 1, 1000])
def test_many_that_begin_alike(count: int) -> None:
    index = PartIndex((f"advert{number:04}", number) for number in range(count))
    assert index.find(f"www.advert{count - 1:04}.example") == [count - 1]
    assert index.find("www.advert.example") == []
