"""Expected status codes."""

from __future__ import annotations

import pytest

from mihomo_tproxy.keeper.status import expects, parse_status


@pytest.mark.parametrize(
    ("text", "yes", "no"),
    [
        ("*", [100, 204, 599], [0]),
        ("", [204], [0]),
        ("204", [204], [0, 200, 205]),
        ("200/204/301-399", [200, 204, 301, 350, 399], [201, 300, 400]),
        ("200,204", [200, 204], [201]),
        ("200//204", [200, 204], [201]),
        (" 200 - 299 ", [200, 299], [300]),
        ("299-200", [250], [300]),
    ],
)
def test_ranges(text, yes, no):
    ranges = parse_status(text)
    assert all(expects(ranges, status) for status in yes)
    assert not any(expects(ranges, status) for status in no)


@pytest.mark.parametrize("text", ["x", "200-", "-5", "²", "1-2-3"])
def test_nonsense(text):
    with pytest.raises(ValueError, match="status"):
        parse_status(text)
