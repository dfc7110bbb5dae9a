"""The table of all rows and checks, as it is printed at the end of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.interop.rows import CHECKS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.interop.rows import Row

OUTCOMES: dict[tuple[str, str], str] = {}
"""(row, check) -> what came of it in this run."""


def lines(rows: list[Row]) -> Iterator[str]:
    """The rows of which anything was tried: outcomes, and letters for the reasons of the rest."""
    shown = [row for row in rows if any((str(row), check) in OUTCOMES for check in CHECKS)]
    reasons: dict[str, str] = {}
    width = max((len(str(row)) for row in shown), default=0)
    yield f"{'':{width}}  " + "  ".join(f"{check:7}" for check in CHECKS)
    for row in shown:
        cells = []
        for check in CHECKS:
            reason = row.cannot.get(check)
            if reason is None:
                cells.append(OUTCOMES.get((str(row), check), "-"))
            else:
                cells.append(reasons.setdefault(reason, f"({len(reasons) + 1})"))
        yield f"{row!s:{width}}  " + "  ".join(f"{cell:7}" for cell in cells).rstrip()
    yield "-: not part of this run; ok, FAILED: what came of it; (n): not tried, because"
    for reason, mark in reasons.items():
        yield f"{mark} {reason}"
