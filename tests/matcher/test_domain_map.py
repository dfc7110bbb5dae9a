"""Values by patterns: which of several fits best."""

from __future__ import annotations

import pytest

from mihomo_tproxy.matcher.domain_map import DomainMap

ENTRIES = {
    "a.test": "exact",
    "+.b.test": "plus",
    ".c.test": "below",
    "*.d.test": "one",
    "x.d.test": "own",
    "*.*.e.test": "two",
    "w.*.f.test": "middle",
    ".f.test": "rest",
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("a.test", "exact"),
        ("z.a.test", None),
        ("b.test", "plus"),
        ("y.z.b.test", "plus"),
        ("c.test", None),
        ("z.c.test", "below"),
        ("y.z.c.test", "below"),
        ("d.test", None),
        ("z.d.test", "one"),
        ("x.d.test", "own"),
        ("y.z.d.test", None),
        ("y.z.e.test", "two"),
        ("z.e.test", None),
        ("w.q.f.test", "middle"),
        ("v.q.f.test", "rest"),
        ("f.test", None),
        ("", None),
        ("..c.test", "below"),
    ],
)
def test_the_best_pattern(name: str, value: str | None) -> None:
    assert DomainMap(ENTRIES).get(name) == value


def test_nothing_is_in_an_empty_map() -> None:
    assert DomainMap[str]({}).get("a.test") is None
