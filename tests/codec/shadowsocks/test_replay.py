"""The window against a slow one: a set of everything seen."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mihomo_tproxy.codec.shadowsocks.replay import WINDOW_PACKETS, ReplayWindow

near = st.lists(st.integers(0, 3 * WINDOW_PACKETS), max_size=200)
far = st.lists(st.integers(0, 2**64 - 1), max_size=50)


@given(near | far)
def test_as_a_set_of_all(numbers: list[int]) -> None:
    window, seen = ReplayWindow(), set()
    for number in numbers:
        wanted = number not in seen and number > max(seen, default=-1) - WINDOW_PACKETS
        assert window.is_new(number) == wanted
        if wanted:
            window.mark(number)
            seen.add(number)
        assert not window.is_new(number)


def test_the_edges() -> None:
    window = ReplayWindow()
    window.mark(WINDOW_PACKETS)
    assert window.is_new(1)
    assert not window.is_new(0)
    window.mark(1)
    assert not window.is_new(1)
    window.mark(2**64 - 1)
    assert not window.is_new(WINDOW_PACKETS)
    assert window._bits.bit_length() <= WINDOW_PACKETS
