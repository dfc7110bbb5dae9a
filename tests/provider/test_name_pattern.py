"""Expressions over names. What is expected of replacements is what mihomo 1.19.32 does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis.strategies import text

from mihomo_tproxy.provider.name_pattern import (
    MAX_LOOPS,
    MAX_NAME,
    MAX_PATTERN,
    NamePattern,
    parse_alternatives,
)


@pytest.mark.parametrize(
    ("pattern", "name", "found"),
    [
        ("hk", "a hk 1", True),
        ("hk", "a HK 1", False),
        ("(?i)港|hk", "HK", True),
        ("港|(?i)hk|us", "US", True),
        ("a(?i)b|c", "C", True),
        ("a(?i)b|c", "AB", False),
        ("x(y(?i)z)q", "xyZq", True),
        ("x(y(?i)z)q", "xyZQ", False),
        ("[(?i)]", "I", False),
        (r"\(?i\)x", "i)x", True),
        (r"(?<q>a)\k<q>", "aa", True),
        ("^(?=.*(港|hk))(?!.*(x|y)).*$", "hk 1", True),
        ("^(?=.*(港|hk))(?!.*(x|y)).*$", "hk x", False),
    ],
)
def test_search(pattern: str, name: str, found: bool) -> None:
    assert NamePattern(pattern).search(name) is found


@pytest.mark.parametrize(
    ("pattern", "target", "name", "result"),
    [
        (r"(?<x>HK) (\d)", "$2-${x}-$0-$&-$9-$$", "HK 1", "HK-HK-HK 1-HK 1-$9-$"),
        (r"(?<x>HK) (\d)", "$1", "HK 1", "1"),
        ("U", "$1x", "US 1", "$1xS 1"),
        (".*", "same", "a", "samesame"),
        ("IPLC-(.*?)倍", "iplc x $1", "IPLC-2倍", "iplc x 2"),
        ("(a)|b", "[$1]", "ab", "[a][]"),
    ],
)
def test_replace(pattern: str, target: str, name: str, result: str) -> None:
    assert NamePattern(pattern).replace(name, target) == result


@pytest.mark.parametrize(
    "pattern",
    ["(", "x)", "[", r"\k<x>", "a" * (MAX_PATTERN + 1), "(" * 900, "a{99999999999999999999}"],
)
def test_bad_expressions(pattern: str) -> None:
    with pytest.raises(ValueError, match="expression"):
        NamePattern(pattern)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(a?b?)*c", "(?:x(?:.*y)){2,}"])
def test_expressions_that_explode(pattern: str) -> None:
    with pytest.raises(ValueError, match="for ever"):
        NamePattern(pattern)


@pytest.mark.parametrize("pattern", ["^((?!Expire|(Traffic|x)).)*$", "(?:(?=a|b).)+"])
def test_alternatives_that_are_only_looked_at_do_not(pattern: str) -> None:
    found = NamePattern(pattern)
    assert found.search("a" * MAX_NAME)
    assert not found.search("Traffic") or "(?=" in pattern


def test_too_many_repetitions() -> None:
    with pytest.raises(ValueError, match="more than"):
        NamePattern(".*" * (MAX_LOOPS + 1))


def test_long_names_are_left_alone() -> None:
    name = "x" * (MAX_NAME + 1)
    assert not NamePattern("x").search(name)
    assert NamePattern("x").replace(name, "y") == name


def test_alternatives() -> None:
    first, second = parse_alternatives("a`b")
    assert first.search("a")
    assert second.search("b")
    assert parse_alternatives("") == ()


@given(text(max_size=50))
def test_only_value_errors_escape(pattern: str) -> None:
    try:
        assert NamePattern(pattern).search("x") in (True, False)
    except ValueError:
        pass
