"""Filters of names: alternatives, .NET's inline options, and what is refused."""

from __future__ import annotations

import re

import pytest

from mihomo_tproxy.config.filters import MAX_NAME, MAX_PATTERN, NameFilter, translate


@pytest.mark.parametrize(
    ("dotnet", "python"),
    [
        ("hk|us", "hk|us"),
        ("(?i)hk|us", "(?i:hk)|(?i:us)"),
        ("a(?i)b|c", "a(?i:b)|(?i:c)"),
        ("(a(?i)b|c)d", "(a(?i:b)|(?i:c))d"),
        ("^(?i)((?!x).)*$", "^(?i:((?!x).)*$)"),
        ("(?i)a(?-i)b", "(?i:a(?-i:b))"),
        ("(?<n>a)(?<=b)(?<!c)", "(?P<n>a)(?<=b)(?<!c)"),
        (r"\(?i\)", r"\(?i\)"),
        ("[(|]|[]|)](?i)x", "[(|]|[]|)](?i:x)"),
        ("(?:a|b)(?=c)", "(?:a|b)(?=c)"),
    ],
)
def test_inline_options_hold_to_the_end_of_their_group(dotnet, python):
    assert translate(dotnet) == python
    re.compile(python)


@pytest.mark.parametrize(
    ("pattern", "name", "found"),
    [
        ("hk", "HK-1", False),
        ("(?i)hk", "HK-1", True),
        ("us`hk", "x-hk", True),
        ("us` hk", "x-hk", False),
        ("港|(?i)hk|tw", "TW", True),
        ("^((?!x).)*$", "axb", False),
        ("", "anything", False),
        (".", "x" * MAX_NAME, True),
        (".", "x" * (MAX_NAME + 1), False),
    ],
)
def test_matches(pattern, name, found):
    assert NameFilter(pattern).matches(name) is found


def test_sorted_by_alternatives_then_as_they_came():
    names = ["hk-1", "us-1", "jp-1", "hk-2", "us-hk"]
    assert list(NameFilter("us`hk").sort(names)) == ["us-1", "us-hk", "hk-1", "hk-2"]


@pytest.mark.parametrize("pattern", ["(", "a`[", "(?<=a+)b", "x" * (MAX_PATTERN + 1), ")", "(?z)a"])
def test_what_is_no_expression_is_refused(pattern):
    with pytest.raises(ValueError, match=r"expression"):
        NameFilter(pattern)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "a`(a?b?)*c", ".*.*.*.*x"])
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
    ],
)
def test_what_users_write_is_taken(pattern):
    assert NameFilter(pattern)
