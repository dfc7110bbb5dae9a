"""Names that an expression changes. Results are what mihomo 1.19.32 makes of them."""

from __future__ import annotations

import pytest

from mihomo_tproxy.config.filters import MAX_NAME
from mihomo_tproxy.provider.renaming import Renaming


@pytest.mark.parametrize(
    ("pattern", "target", "name", "result"),
    [
        (r"(?<x>HK) (\d)", "$2-${x}-$0-$&-$9-$$", "HK 1", "HK-HK-HK 1-HK 1-$9-$"),
        (r"(?<x>HK) (\d)", "$1", "HK 1", "1"),
        ("U", "$1x", "US 1", "$1xS 1"),
        (".*", "same", "a", "samesame"),
        ("IPLC-(.*?)倍", "iplc x $1", "IPLC-2倍", "iplc x 2"),
        ("(a)|b", "[$1]", "ab", "[a][]"),
        ("(?i)hk", "${none}", "Hk", "${none}"),
    ],
)
def test_apply(pattern: str, target: str, name: str, result: str) -> None:
    assert Renaming(pattern, target).apply(name) == result


def test_long_names_are_left_alone() -> None:
    name = "x" * (MAX_NAME + 1)
    assert Renaming("x", "y").apply(name) == name


@pytest.mark.parametrize("pattern", ["(", "(a+)+$"])
def test_bad_expressions(pattern: str) -> None:
    with pytest.raises(ValueError, match="bad expression"):
        Renaming(pattern, "")
