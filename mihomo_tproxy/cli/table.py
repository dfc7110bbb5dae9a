"""Plain text tables and amounts for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.printing import printable

if TYPE_CHECKING:
    from collections.abc import Sequence


def render(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table with aligned columns: text to the left, numbers to the right."""
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(heads), *cells]) for i in range(len(heads))]
    numeric = [
        bool(rows) and all(isinstance(row[i], int | float) for row in rows)
        for i in range(len(heads))
    ]

    def line(row: Sequence[str]) -> str:
        return "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()

    return "\n".join([line(heads), *(line(row) for row in cells)])


def bytes_text(amount: float) -> str:
    """An amount of bytes with a binary unit: `1.5 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"
