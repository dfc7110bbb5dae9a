"""Single entries of lists of names."""

from __future__ import annotations

from copy import deepcopy

from support.flows import metadata

from mihomo_tproxy.matcher.expressions import Expression
from mihomo_tproxy.rule.listed import ListedExpression, ListedPattern


def test_an_expression_is_found_in_the_name() -> None:
    entry = deepcopy(ListedExpression(Expression("^ads[0-9]")))
    assert entry.match(metadata(host="ads1.example"))
    assert not entry.match(metadata(host="x.ads1.example"))


def test_a_pattern_stands_for_the_name() -> None:
    entry = deepcopy(ListedPattern("+.*.example"))
    assert entry.match(metadata(host="a.b.example"))
    assert not entry.match(metadata(host="example"))
