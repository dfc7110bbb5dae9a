"""Filters of names: alternatives, their order, and what is refused."""

from __future__ import annotations

import pytest

from mihomo_tproxy.config.filters import NameFilter


@pytest.mark.parametrize(
    ("pattern", "name", "found"),
    [
        ("hk", "HK-1", False),
        ("(?i)hk", "HK-1", True),
        ("us`hk", "x-hk", True),
        ("us` hk", "x-hk", False),
        ("港|(?i)hk|tw", "TW", True),
        ("^((?!x|y).)*$", "axb", False),
        ("^((?!x|y).)*$", "ab", True),
        ("", "anything", False),
    ],
)
def test_matches(pattern, name, found):
    assert NameFilter(pattern).matches(name) is found
    assert bool(NameFilter(pattern)) is bool(pattern)


def test_how_many_are_found():
    assert [NameFilter("hk`1`.").count(name) for name in ("hk-1", "us-1", "x", "")] == [3, 2, 1, 0]


def test_sorted_by_alternatives_then_as_they_came():
    names = ["hk-1", "us-1", "jp-1", "hk-2", "us-hk"]
    assert list(NameFilter("us`hk").sort(names)) == ["us-1", "us-hk", "hk-1", "hk-2"]


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "x`(a?b?)*c", ".*a.*a.*a.*a$"])
def test_what_takes_python_too_long_is_searched_in_linear_time(pattern):
    name = "a" * 120
    assert NameFilter(pattern).matches(f"{name}c") is pattern.startswith("x")
    assert not NameFilter(pattern).matches(f"{name}!")
    assert not NameFilter(pattern).matches("A" * 120)


@pytest.mark.parametrize("pattern", ["(", "a`[", "(?=(a+)+$)"])
def test_what_is_no_expression_is_refused(pattern):
    with pytest.raises(ValueError, match=r"expression"):
        NameFilter(pattern)


@pytest.mark.parametrize("pattern", ["(?!(a+)+$)", r"(\w|\w\w)+$", "a`(a?b?)*c(?=x)"])
def test_what_explodes_is_refused(pattern):
    with pytest.raises(ValueError, match="too long"):
        NameFilter(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "^(?=.*(港|hk))(?!.*(x|y)).*$",
        "^((?!(DIRECT|直连)).)*$",
        r"(?i)(?=.*a)(?=.*b)(?=.*c)(?!.*d)^.*$",
        "IPLC.*x.*[0-9]",
        "(?i)^(?!.*(?:test|过期)).*(日本|jp|🇯🇵).*$",
        "^(?!.*x).*(?:hk|tw).*(?:iplc|iepl).*$",
        "(?i).*(hk|香港).*(iplc|iepl).*",
    ],
)
def test_what_users_write_is_taken(pattern):
    assert NameFilter(pattern)
