"""What flat tables hold for a key: which places in a first-match list it has.

A value is one int. Mostly it is the first place (rank) itself; where a later place can matter too,
because the first one's target may turn out to be unusable, it is `LISTED` plus the number of a
tuple of ranks. Invariant: the ranks of a tuple ascend, all but the last may be unusable, no two
have the same target; what comes after the last never decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LISTED: Final = 1 << 28
NO_VALUE: Final = (1 << 29) - 1
"""The key has no place."""
HINTED: Final = 1 << 30
"""Plus the number of a group of rules: one of them may match what has this key."""


class Ranking:
    """Makes values, while tables are built."""

    def __init__(self, targets: Sequence[int], conditional: frozenset[int]) -> None:
        """`targets`: of each rank, as a number, -1 for several; `conditional`: may be unusable."""
        self._targets = targets
        self._conditional = conditional | {-1}
        self._numbers: dict[tuple[int, ...], int] = {}
        self.lists: list[tuple[int, ...]] = []

    def join(self, value: int, rank: int) -> int:
        """The value of a key that has a value, and one more rank, not below those it has."""
        last = self.lists[value - LISTED][-1] if value >= LISTED else value
        if rank == last or self._targets[last] not in self._conditional:
            return value
        ranks = self.lists[value - LISTED] if value >= LISTED else (value,)
        target = self._targets[rank]
        if target >= 0 and any(self._targets[each] == target for each in ranks):
            return value
        return self._number((*ranks, rank))

    def value_of(self, ranks: Iterable[int]) -> int:
        """The value of a key with these ranks, ascending; there is at least one."""
        value = -1
        for rank in ranks:
            value = rank if value < 0 else self.join(value, rank)
            last = self.lists[value - LISTED][-1] if value >= LISTED else value
            if self._targets[last] not in self._conditional:
                break
        return value

    def may_pass(self, rank: int) -> bool:
        """Whether the target of a rank may turn out to be unusable."""
        return self._targets[rank] in self._conditional

    def _number(self, ranks: tuple[int, ...]) -> int:
        number = self._numbers.get(ranks)
        if number is None:
            number = self._numbers[ranks] = LISTED + len(self.lists)
            self.lists.append(ranks)
        return number


class OneRank:
    """The ranking of a plain set: everything has the place 0."""

    lists: tuple[tuple[int, ...], ...] = ()

    def join(self, value: int, rank: int) -> int:
        """0."""
        return value

    def value_of(self, ranks: Iterable[int]) -> int:
        """0."""
        return 0

    def may_pass(self, rank: int) -> bool:
        """Never: it is only a set."""
        return False
