"""The base of the rule kinds."""

from __future__ import annotations

import pytest
from support.flows import metadata

from mihomo_tproxy.rule.base import BaseRule


def test_a_kind_must_say_what_it_matches() -> None:
    with pytest.raises(NotImplementedError):
        BaseRule("X", "p", "t", 0).match(metadata())
