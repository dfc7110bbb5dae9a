"""The conditions of a logic rule."""

from __future__ import annotations

import pytest

from mihomo_tproxy.rule.notation import split_conditions


@pytest.mark.parametrize(
    ("payload", "conditions"),
    [
        ("((A,a))", ["A,a"]),
        (" ( ( A,a ) , (B,(b),c) ) ", ["A,a", "B,(b),c"]),
        ("((A,a) (B,b))", ["A,a", "B,b"]),
        ("(())", [""]),
        ("((NOT,((A,a))))", ["NOT,((A,a))"]),
    ],
)
def test_splits(payload: str, conditions: list[str]) -> None:
    assert split_conditions(payload) == conditions


@pytest.mark.parametrize(
    "payload",
    ["", "A", "(A)", "()", "((A)", "((A)))", ")(", "((A)x(B))", "x((A))", "((A))y"],
)
def test_refuses(payload: str) -> None:
    with pytest.raises(ValueError, match=r"missing|not a list"):
        split_conditions(payload)
