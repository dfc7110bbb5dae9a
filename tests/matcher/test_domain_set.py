"""Domain patterns, as observed with mihomo 1.19.32 and its rule providers."""

from __future__ import annotations

import pickle
import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mihomo_tproxy.matcher.domain_set import DomainSet, label_match

HOSTS = [
    *("x", "a.x", "b.a.x", "c.b.a.x", "a.b.x", "a.a.x", "a.c.x", "com", "foo.com", "a.foo.com"),
    *("b.com", "a.b.com", "foo.example.com", "a.foo.example.com", "x.a", "localhost", "_a.b.com"),
]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*", ["x", "com", "localhost"]),
        ("*.x", ["a.x"]),
        ("+.x", ["x", "a.x", "b.a.x", "c.b.a.x", "a.b.x", "a.a.x", "a.c.x"]),
        (".x", ["a.x", "b.a.x", "c.b.a.x", "a.b.x", "a.a.x", "a.c.x"]),
        ("a.*.x", ["a.b.x", "a.a.x", "a.c.x"]),
        ("*.*.x", ["b.a.x", "a.b.x", "a.a.x", "a.c.x"]),
        ("FOO.Example.COM", ["foo.example.com"]),
        (
            "+.*.com",
            [
                *("foo.com", "a.foo.com", "b.com", "a.b.com", "foo.example.com"),
                *("a.foo.example.com", "_a.b.com"),
            ],
        ),
        (".*.com", ["a.foo.com", "a.b.com", "foo.example.com", "a.foo.example.com", "_a.b.com"]),
        ("_a.b.com", ["_a.b.com"]),
        ("com", ["com"]),
        ("a.*", ["a.x"]),
        ("*.*", ["a.x", "foo.com", "b.com", "x.a"]),
    ],
)
def test_patterns(pattern: str, found: list[str]) -> None:
    domains = DomainSet([pattern])
    assert [host for host in HOSTS if host in domains] == found
    assert "" not in domains
    assert len(domains) == 1


@pytest.mark.parametrize(
    "pattern",
    [
        *("", ".", "+", "+.", "*.", "..x", "a..b", "foo.com.", "x.+", "a.+.com", "*.+.com"),
        *("+.+.com", "a+b.com", "*b.com", "a*b.com", "ab*.com", "**.com", "foo.com/x"),
        *("foo .com", "foo.com ", "foo.com:80", "foo\t.com", "中文.com", "+.中文.com"),
    ],
)
def test_no_patterns(pattern: str) -> None:
    with pytest.raises(ValueError, match="not a domain pattern"):
        DomainSet([pattern])


def test_several_wildcards_are_all_tried() -> None:
    domains = DomainSet(["a.*.x", "*.b.x", "*.y.com", "*.z.b.com"])
    hosts = ("a.c.x", "c.b.x", "a.b.x", "c.c.x", "q.y.com", "q.z.b.com", "z.b.com")
    assert [host in domains for host in hosts] == [True, True, True, False, True, True, False]


def test_wildcards_that_come_later_count() -> None:
    domains = DomainSet(["a.*.x"])
    assert "b.b.x" not in domains
    domains.add("b.*.x")
    assert "b.b.x" in domains


def test_keywords_and_expressions() -> None:
    domains = DomainSet()
    domains.keywords.append("goo")
    domains.expressions.append(re.compile("^f.o[.]"))
    assert "www.google.example" in domains
    assert "foo.example" in domains
    assert "a.foo.example" not in domains
    assert "" not in domains
    assert len(domains) == 2


def test_pickles() -> None:
    domains = pickle.loads(pickle.dumps(DomainSet(["+.a.example", "b.*.example"])))  # noqa: S301
    assert "x.a.example" in domains
    assert "b.x.example" in domains


LABEL = st.sampled_from(["a", "b", "*"])
PATTERN = st.builds(
    lambda prefix, labels: prefix + ".".join(labels),
    st.sampled_from(["", "+.", ".", "*."]),
    st.lists(LABEL, min_size=1, max_size=4),
)


def slowly(pattern: str, host: str) -> bool:
    """The meaning of a pattern, as an expression."""
    head, rest = "", pattern
    if pattern.startswith("+."):
        head, rest = "(.+[.])?", pattern[2:]
    elif pattern.startswith("."):
        head, rest = "(.+[.])", pattern[1:]
    body = "[.]".join("[^.]+" if label == "*" else label for label in rest.split("."))
    return re.fullmatch(head + body, host) is not None


@given(st.lists(PATTERN, max_size=6), st.lists(st.sampled_from("abc"), min_size=1, max_size=5))
def test_membership_is_that_of_any_pattern(patterns: list[str], labels: list[str]) -> None:
    host = ".".join(labels)
    assert (host in DomainSet(patterns)) is any(slowly(pattern, host) for pattern in patterns)
    assert all(label_match(pattern, host) is slowly(pattern, host) for pattern in patterns)


@given(st.text())
def test_anything_else_is_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert len(DomainSet([text])) == 1
