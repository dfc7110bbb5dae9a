"""Which of many texts stand anywhere in a name, in one pass over the name.

A few texts are looked for one by one. Of many, each is filed under one of its runs of three
characters, the one that the fewest others have; a name has as many runs as characters, and texts
whose run it has are looked for. Invariant: the answer is that of looking for each text.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

RUN: Final = 3
FEW: Final = 24
"""Up to so many, looking for each takes less time than cutting the name into runs."""


class PartIndex:
    """Numbers by text. Picklable."""

    __slots__ = ("_by_run", "_plain")

    def __init__(self, texts: Iterable[tuple[str, int]]) -> None:
        given = list(texts)
        self._plain: list[tuple[str, int]] = []
        """Texts that are looked for in every name."""
        self._by_run: dict[str, tuple[tuple[str, int], ...]] = {}
        if len(given) <= FEW:
            self._plain = given
            return
        common = Counter(run for text, _ in given for run in _runs(text))
        for text, number in given:
            if len(text) < RUN:
                self._plain.append((text, number))
            else:
                run = min(_runs(text), key=lambda each: (common[each], each))
                self._by_run[run] = (*self._by_run.get(run, ()), (text, number))

    def find(self, name: str) -> list[int]:
        """The numbers of all texts that stand in the name, in no order; one may come twice."""
        found = [number for text, number in self._plain if text in name]
        by_run = self._by_run
        if by_run:
            for at in range(len(name) - RUN + 1):
                filed = by_run.get(name[at : at + RUN])
                if filed is not None:
                    found += [number for text, number in filed if text in name]
        return found

    def __len__(self) -> int:
        """The number of texts."""
        return len(self._plain) + sum(map(len, self._by_run.values()))


def _runs(text: str) -> set[str]:
    return {text[at : at + RUN] for at in range(len(text) - RUN + 1)}
