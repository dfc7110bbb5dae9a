"""Expected status codes, as mihomo takes and refuses them."""

from __future__ import annotations

import pytest

from mihomo_tproxy.model.status import is_expected, status_ranges


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("*", ()),
        (" * ", ()),
        ("", ()),
        ("204", ((204, 204),)),
        ("200/204/301-399", ((200, 200), (204, 204), (301, 399))),
        ("200,204", ((200, 200), (204, 204))),
        ("200 / 204", ((200, 200), (204, 204))),
        ("200//204", ((200, 200), (204, 204))),
        ("300-200", ((200, 300),)),
    ],
)
def test_lists(text, ranges):
    assert status_ranges(text) == ranges


@pytest.mark.parametrize(
    "text", ["abc", "200-", "-200", "*/200", "1-2-3", "70000", "/".join("1" * 29)]
)
def test_no_lists(text):
    with pytest.raises(ValueError, match=r"found|ranges"):
        status_ranges(text)


def test_expected():
    ranges = status_ranges("204/300-399")
    assert [is_expected(status, ranges) for status in (200, 204, 299, 300, 399, 400)] == [
        *(False, True, False, True, True, False)
    ]
    assert is_expected(599, ())
