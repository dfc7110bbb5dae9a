"""Port rules: lists and ranges as mihomo reads them."""

from __future__ import annotations

import pytest
from support.flows import metadata

from mihomo_tproxy.rule.port import parse_ports
from mihomo_tproxy.rule.registry import parse_rule


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
    assert parse_ports(text) == ranges


@pytest.mark.parametrize(
    "text", ["", "/", "*", "http", "0x50", "-1", "80-", "1-2-3", "65536", "٣", "1,2", "9" * 5000]
)
def test_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="port"):
        parse_ports(text)


def test_at_most_28_items() -> None:
    assert len(parse_ports("/".join(["1"] * 28))) == 28
    with pytest.raises(ValueError, match="29 ports"):
        parse_ports("/".join(["1"] * 29))


def test_match() -> None:
    destination, source = parse_rule("DST-PORT,80/90-99,out"), parse_rule("SRC-PORT,5,out")
    assert [port for port in range(70, 110) if destination.match(metadata(port=port))] == [
        80,
        *range(90, 100),
    ]
    assert source.match(metadata(port=80, source_port=5))
    assert not source.match(metadata(port=5, source_port=80))
