"""Text of strangers, before it is printed."""

from __future__ import annotations

import pytest

from mihomo_tproxy.printing import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("香港 01 🇭🇰", "香港 01 🇭🇰"),
        ("👩\u200d💻", "👩\u200d💻"),
        ("a\nlevel=error", "a\\nlevel=error"),
        ("\x1b[2J\x00\u202e\x85\ud800", "\\x1b[2J\\x00\\u202e\\x85\\ud800"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown
