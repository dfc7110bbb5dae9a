"""Flat names against the pattern set, and against a list that is searched in rank order."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mihomo_tproxy.matcher.domain_set import DomainSet
from mihomo_tproxy.matcher.domain_table import DomainTable, DomainTableBuilder
from mihomo_tproxy.matcher.flat_sets import FlatDomainSet, write_domain_set
from mihomo_tproxy.matcher.ranked import HINTED, LISTED, Ranking
from mihomo_tproxy.matcher.sections import Sections, SectionWriter

LABELS = st.sampled_from(("a", "b", "com", "www"))
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
PATTERNS = st.builds(lambda head, name: head + name, st.sampled_from(("", "+.", ".", "*.")), NAMES)
HOSTS = [
    ".".join(labels)
    for labels in (
        ("a",),
        ("com",),
        ("a", "com"),
        ("www", "a", "com"),
        ("b", "www", "a", "com"),
        ("a", "b"),
        ("b", "a", "b"),
        ("xcom",),
        ("x", "com"),
    )
]
PROFILE = settings(deadline=None, derandomize=True, max_examples=400)


@PROFILE
@given(st.lists(PATTERNS, max_size=12))
def test_a_flat_set_is_the_set(patterns: list[str]) -> None:
    plain, writer = DomainSet(patterns), SectionWriter()
    flat = write_domain_set(writer, plain)
    view = FlatDomainSet(Sections(writer.finish(b"")), flat)
    for host in ("", *HOSTS):
        assert (host in view) == (host in plain)


@PROFILE
@given(
    st.lists(st.lists(PATTERNS, min_size=1, max_size=3), max_size=6),
    st.lists(st.integers(0, 3), min_size=6, max_size=6),
)
def test_every_rank_that_can_matter_is_found(lists: list[list[str]], targets: list[int]) -> None:
    passable = frozenset({0, 1})
    ranking, writer = Ranking(targets, passable), SectionWriter()
    builder = DomainTableBuilder(ranking)
    for rank, patterns in enumerate(lists):
        builder.add_set(DomainSet(patterns), rank)
    layout = builder.build(writer)
    if layout is None:
        assert not lists
        return
    table = DomainTable(Sections(writer.finish(b"")), layout)
    for host in HOSTS:
        matching = [rank for rank, patterns in enumerate(lists) if host in DomainSet(patterns)]
        found: set[int] = set()
        for value in table.hits(host):
            found |= set(ranking.lists[value - LISTED]) if value >= LISTED else {value}
        assert found <= set(matching)
        for target in set(targets):
            first = next((rank for rank in matching if targets[rank] == target), None)
            ends = [rank for rank in matching if targets[rank] not in passable]
            if first is not None and (not ends or first <= ends[0]):
                assert first in found


def test_a_table_of_another_program_is_refused() -> None:
    writer = SectionWriter()
    builder = DomainTableBuilder(Ranking([0], frozenset()))
    builder.add_set(DomainSet(["example.com"]), 0)
    layout = builder.build(writer)
    assert layout is not None
    with pytest.raises(RuntimeError, match="another program"):
        DomainTable(Sections(writer.finish(b"")), layout._replace(probe=layout.probe ^ 1))


def test_hints_are_for_a_name_and_what_is_below_beside_its_values() -> None:
    writer = SectionWriter()
    builder = DomainTableBuilder(Ranking([0, 1], frozenset()))
    builder.add_set(DomainSet(["a.com"]), 0)
    builder.add_set(DomainSet(["*.b.com"]), 1)
    for group, name in enumerate(("a.com", "b.com", "c.com")):
        builder.hint(name, group)
    layout = builder.build(writer)
    assert layout is not None
    table = DomainTable(Sections(writer.finish(b"")), layout)
    wanted = {
        "a.com": [0, HINTED],
        "www.a.com": [HINTED],
        "b.com": [HINTED + 1],
        "www.b.com": [1, HINTED + 1],
        "x.www.b.com": [HINTED + 1],
        "c.com": [HINTED + 2],
        "cc.com": [],
    }
    assert {name: sorted(table.hits(name)) for name in wanted} == wanted


def test_many_names() -> None:
    writer = SectionWriter()
    builder = DomainTableBuilder(Ranking(list(range(5000)), frozenset()))
    for rank in range(5000):
        builder.add(rank % 2, f"n{rank}.example", rank)
    layout = builder.build(writer)
    assert layout is not None
    table = DomainTable(Sections(writer.finish(b"header")), layout)
    for rank in range(5000):
        assert table.hits(f"n{rank}.example") == [rank]
        assert table.hits(f"x.n{rank}.example") == ([rank] if rank % 2 == 0 else [])
    assert table.hits("n5000.example") == []
