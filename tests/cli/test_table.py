"""Tables and amounts."""

from __future__ import annotations

import pytest

from mihomo_tproxy.cli.table import bytes_text, render


def test_texts_to_the_left_numbers_to_the_right():
    assert render(["name", "n"], [["a", 5], ["longer", 12]]) == "\n".join(
        ["name     n", "a        5", "longer  12"]
    )


def test_no_rows_are_a_head():
    assert render(["name", "n"], []) == "name  n"


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536 * 1024, "1.5 MiB"),
        (3 << 30, "3.0 GiB"),
        (5 << 40, "5.0 TiB"),
    ],
)
def test_amounts_have_binary_units(amount, text):
    assert bytes_text(amount) == text


def test_cells_keep_to_their_line():
    assert render(["name"], [["a\nb\x1b[2J"]]) == "name\na\\nb\\x1b[2J"
