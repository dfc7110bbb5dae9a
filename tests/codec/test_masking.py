"""The mask: the vector of RFC 6455, both implementations alike."""

from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from mihomo_tproxy.codec.masking import apply_mask, apply_mask_slowly, find_mask


def test_rfc_6455_example() -> None:
    """RFC 6455, 5.7: a single-frame masked text message, "Hello"."""
    mask = bytes.fromhex("37fa213d")
    assert apply_mask(b"Hello", mask).hex() == "7f9f4d5158"
    assert apply_mask_slowly(b"Hello", mask).hex() == "7f9f4d5158"


def test_without_the_module_in_c() -> None:
    assert find_mask("no_such_package") is apply_mask_slowly
    assert find_mask("json") is apply_mask_slowly


def test_the_package_around_it_stays_outside() -> None:
    code = "import mihomo_tproxy.codec.masking, sys; sys.exit('websockets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@given(st.binary(max_size=70), st.binary(min_size=4, max_size=4))
def test_both_ways_alike_and_reversible(data: bytes, mask: bytes) -> None:
    assert apply_mask(memoryview(data), mask) == apply_mask_slowly(memoryview(data), mask)
    assert apply_mask_slowly(apply_mask_slowly(data, mask), mask) == data
