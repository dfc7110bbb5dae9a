"""Bounds of steps, and literal parts."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mihomo_tproxy.matcher.backtracking import literal_part, literal_tail, steps


@pytest.mark.parametrize(
    ("cheap", "dear"),
    [
        ("^abc", "abc"),
        ("abc", "a.*c"),
        ("^a.*c", "a.*c"),
        ("a.*c", "a.*b.*c"),
        ("a.*b.*c", "(a+)+"),
        ("a?b", "a?a?b"),
        ("(?:ab){5}", "(?:a?b){5}"),
        ("(?>.*)(?>.*)", ".*.*"),
        ("(?=.*)(?=.*)", ".*.*"),
        ("a++b++", "a+b+"),
    ],
)
def test_orders(cheap: str, dear: str) -> None:
    assert steps(cheap, 255) < steps(dear, 255)


@pytest.mark.parametrize("pattern", ["(a+)+", "(a|b?)*", "((a?)*)*", "(a)?(?(1)b|c)", "(a*){99}"])
def test_unbounded(pattern: str) -> None:
    assert steps(pattern, 255) == float("inf")


@pytest.mark.parametrize("pattern", ["(", "[[a]", "a**", "(?<n>a)"])
def test_what_python_cannot_read(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        steps(pattern, 255)
    assert literal_tail(pattern) == literal_part(pattern) == ""


@pytest.mark.parametrize(
    ("pattern", "tail"),
    [
        (r"(^|\.)foo[0-9]+\.example\.com$", "example.com"),
        (r"^example\.com$", "example.com"),
        (r"(^|\.)example\.com$", "example.com"),
        (r"(?:^|\.)example\.com$", "example.com"),
        (r"example\.com$", "com"),
        (r"^([a-z]+\.)example\.com$", "example.com"),
        (r"^([a-z]+\.)?example\.com$", "com"),
        (r"\.(EXAMPLE)\.Com\Z", "example.com"),
        (r"a(?!x)\.com$", "com"),
        (r"[.]com$", "com"),
        (r"(^|-)example\.com$", "com"),
        (r"example\.com", ""),
        (r"\.(com|net)$", ""),
        (r"\.com$|\.net$", ""),
        (r"\.com?$", ""),
        (r"com$", ""),
        (r"^$", ""),
        (r"\.com\.$", ""),
        (r"\.é\.com$", ""),
        (r"(?m)\.com$", ""),
        (r"(?x)\. com$", ""),
        (r"", ""),
    ],
)
def test_literal_tail(pattern: str, tail: str) -> None:
    assert literal_tail(pattern) == tail


@pytest.mark.parametrize(
    ("pattern", "part"),
    [
        (r"(^|\.)Foo[0-9]+\.example\.com$", ".example.com"),
        ("ab?c", "a"),
        ("(abc)(d)e", "abcde"),
        ("a|b", ""),
        ("é", ""),
        ("(?x)a b", ""),
    ],
)
def test_literal_part(pattern: str, part: str) -> None:
    assert literal_part(pattern) == part


PIECES = ["a", "b", r"\.", "(^|\\.)", "[ab]+", "(a|b)", "a?", "^", "$", "(?:ab)", ".*", "(?!b)"]


@given(st.lists(st.sampled_from(PIECES), max_size=6), st.text("ab.", max_size=8))
def test_parts_are_in_every_match(pieces: list[str], text: str) -> None:
    pattern = "".join(pieces)
    host = text.strip(".")
    if re.search(pattern, host) and ".." not in host:
        assert literal_part(pattern) in host
        tail = literal_tail(pattern)
        assert not tail or f".{host}".endswith(f".{tail}")


@given(st.text())
def test_nothing_escapes(text: str) -> None:
    assert literal_tail(text).isascii()
    assert literal_part(text).isascii()
