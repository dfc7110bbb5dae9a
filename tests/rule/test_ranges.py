"""Lists of numbers and ranges as mihomo reads them."""

from __future__ import annotations

import pytest

from mihomo_tproxy.rule.ranges import in_ranges, parse_ranges


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("80", ((80, 80),)),
        ("80/443/8000-9000", ((80, 80), (443, 443), (8000, 9000))),
        ("90-80", ((80, 90),)),
        ("80//443/", ((80, 80), (443, 443))),
        (" 80 / 1 - 2 ", ((80, 80), (1, 2))),
        ("0-65535", ((0, 65535),)),
        ("[80-90]", ((80, 90),)),
    ],
)
def test_reads(text: str, ranges: tuple[tuple[int, int], ...]) -> None:
    assert parse_ranges(text, "port", 65535) == ranges


@pytest.mark.parametrize(
    "text", ["", "/", "*", "http", "0x50", "-1", "80-", "1-2-3", "65536", "٣", "1,2", "9" * 5000]
)
def test_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="port"):
        parse_ranges(text, "port", 65535)


def test_at_most_28_items() -> None:
    assert len(parse_ranges("/".join(["1"] * 28), "port", 9)) == 28
    with pytest.raises(ValueError, match="29 ports"):
        parse_ranges("/".join(["1"] * 29), "port", 9)


def test_in_ranges() -> None:
    ranges = parse_ranges("1/5-7", "port", 9)
    assert [number for number in range(10) if in_ranges(ranges, number)] == [1, 5, 6, 7]
