"""Expressions: mihomo's dialect as far as it goes, and bounded time."""

from __future__ import annotations

import pickle
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mihomo_tproxy.matcher.expressions import MAX_PATTERN, MAX_TEXT, Expression


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        (r"(^|\.)foo[0-9]+\.example\.com$", "www.foo12.example.com", True),
        (r"(^|\.)foo[0-9]+\.example\.com$", "xfoo12.example.com", False),
        ("FOO", "a.foo.b", True),
        (r"^(?!www\.).*\.com$", "www.a.com", False),
        (r"^(?!www\.).*\.com$", "w.a.com", True),
        (r"(?<=a)b", "ab", True),
        (r"(a|b)\1", "bb", True),
        (r"(a|b)\1", "ab", False),
        (r"(?>a+)b", "aab", True),
        (r"(?<name>a)b", "ab", True),
        (r"\p{L}+", "a", True),
        (r"\Aab\z", "ab", True),
        ("^$", "", True),
        (".*", "", True),
    ],
)
def test_search(pattern: str, text: str, found: bool) -> None:
    expression = Expression(pattern)
    again = pickle.loads(pickle.dumps(expression))  # noqa: S301
    for each in (expression, again):
        assert each.pattern == pattern
        assert (each.search(text) is not None) is found


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("(a+)+$", "a" * 254 + "b"),
        ("(a|a)*[bc]", "a" * 255),
        ("(.*)*[bc]", "a" * 255),
        ("a?" * 100 + "a" * 100 + "[bc]", "a" * 255),
        (".*a.*a.*a.*[bc]", "a" * 255),
        ("^(([a-z])+.)+[A-Z]([a-z])+$", "a" * 254 + "1"),
        (r"(\w+)-static-[0-9]+[.,]x$", "a-static-" * 28),
    ],
)
def test_what_explodes_elsewhere_is_searched_in_linear_time(pattern: str, text: str) -> None:
    assert Expression(pattern).search(text) is None


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("a" * (MAX_PATTERN + 1), "at most 1024"),
        ("[", "unterminated"),
        (")", "unbalanced"),
        ("*a", "nothing to repeat"),
        ("a{99999999999}", "too large"),
        ("(" * 500, "bad expression"),
        ("[a-z-[aeiou]]", "a class within a class"),
        (r"(?=(a+)+)b\1", "too long"),
        (r"^(?!x)(.*a){12}b", "too long"),
        ("((a{255}){255}){255}", "too long"),
    ],
)
def test_refused(pattern: str, says: str) -> None:
    with pytest.raises(ValueError, match="expression") as caught:
        Expression(pattern)
    assert says in str(caught.value)


@pytest.mark.parametrize("pattern", [r"[a-z]-[0-9]", r"[\]a-]b", "[]a-]b", "[^]-]", r"\[a-[b]"])
def test_a_hyphen_is_no_subtraction(pattern: str) -> None:
    assert Expression(pattern).pattern == pattern


def test_overlong_text_is_not_searched() -> None:
    assert Expression("a").search("a" * MAX_TEXT)
    assert Expression("a").search("a" * (MAX_TEXT + 1)) is None


def test_the_pickle_is_little_more_than_the_text() -> None:
    expression = Expression("(a+)+b")
    expression.search("b")
    assert len(pickle.dumps(expression)) < 150


@given(st.text(max_size=60))
def test_anything_else_is_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert Expression(text).pattern == text
