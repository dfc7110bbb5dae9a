"""Lists of words."""

from __future__ import annotations

import pytest

from mihomo_tproxy.rule.words import parse_words


def test_reads() -> None:
    assert parse_words("a/ b /c d", "word") == ["a", "b", "c d"]


def test_refuses_an_empty_word() -> None:
    with pytest.raises(ValueError, match="an empty word in 'a/ /b'"):
        parse_words("a/ /b", "word")
