"""Names that come again."""

from __future__ import annotations

from mihomo_tproxy.provider.links.names import Names


def test_numbers_as_mihomo_gives_them() -> None:
    names = Names()
    taken = [names.take(name) for name in ("a", "a", "b", "a-01", "a", "")]
    assert taken == ["a", "a-01", "b", "a-01", "a-02", ""]
