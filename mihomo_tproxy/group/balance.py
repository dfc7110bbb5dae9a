"""load-balance: each flow takes the member its strategy finds, among those that are alive.

    consistent-hashing   by where the flow goes (`group.hashing`)
    sticky-sessions      by where it comes from and goes; a pair whose member died stays with its
                         new one for STICKY_S, whether the old one comes back or not
    round-robin          one after the other

With `hash-key: in-user` the first two ask who authenticated, and the addresses only for who did
not. With no member alive it is the first. Each worker counts and remembers for itself; only pairs
that were moved are remembered, at most STICKY_PAIRS, the oldest go first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from mihomo_tproxy.config.specs.group import Strategy
from mihomo_tproxy.group.base import Group
from mihomo_tproxy.group.hashing import destination_of, jump, key_of, place_of
from mihomo_tproxy.model.enums import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mihomo_tproxy.config.specs.group import GroupSpec
    from mihomo_tproxy.model.group_state import GroupState
    from mihomo_tproxy.model.metadata import Metadata
    from mihomo_tproxy.outbound.base import Outbound

STICKY_S: Final = 600.0
STICKY_PAIRS: Final = 4096


class Clock(Protocol):
    """The loop's time, in seconds."""

    now: float


class Balance(Group):
    """A group that spreads flows."""

    verdict = Verdict.UNKNOWN
    passes = False

    def __init__(self, spec: GroupSpec, clock: Clock) -> None:
        super().__init__(spec)
        self._clock = clock
        self._members: tuple[Outbound, ...] = ()
        self._living: tuple[int, ...] = ()
        self._dead: frozenset[int] = frozenset()
        self._turn = 0
        self._moved: dict[int, tuple[int, float]] = {}
        """Pair -> the place it was moved to, and until when."""

    @property
    def udp(self) -> bool:
        """Whether it is not disabled; the members are not asked, as in mihomo."""
        return not self.spec.disable_udp

    def fill(self, members: Sequence[Outbound]) -> None:
        """Take the members, all of them alive."""
        self._members = tuple(members)
        self._living = tuple(range(len(self._members)))
        self._dead = frozenset()
        self._moved.clear()

    def apply(self, state: GroupState) -> None:
        """Leave out who is dead from now on."""
        dead = state.dead.get(self.name, frozenset())
        places = enumerate(self.spec.members)
        self._dead = frozenset(place for place, name in places if name in dead)
        self._living = tuple(
            place for place in range(len(self._members)) if place not in self._dead
        )

    def pick(self, metadata: Metadata | None) -> Outbound:
        """The pick of the member that the strategy finds."""
        self.used = True
        return self.member(metadata).pick(metadata)

    def member(self, metadata: Metadata | None) -> Outbound:
        """The member that the strategy finds; of round-robin it is another the next time."""
        strategy = self.spec.strategy
        if strategy is Strategy.CONSISTENT_HASHING:
            place = self._hashed(self._user(metadata) or destination_of(metadata))
        elif strategy is Strategy.ROUND_ROBIN:
            place = self._next()
        else:
            place = self._sticky(metadata)
        return self._members[place]

    def _user(self, metadata: Metadata | None) -> str:
        return metadata.inbound_user if self.spec.hash_user and metadata is not None else ""

    def _hashed(self, text: str) -> int:
        return place_of(key_of(text), len(self._members), self._living, self._dead)

    def _next(self) -> int:
        living = self._living
        if not living:
            return 0
        self._turn = turn = (self._turn + 1) % len(living)
        return living[turn - 1]

    def _sticky(self, metadata: Metadata | None) -> int:
        text = self._user(metadata)
        if not text and metadata is not None:
            text = f"{metadata.source} {destination_of(metadata)}"
        key = key_of(text)
        if self._moved:
            place, until = self._moved.get(key, (-1, 0.0))
            if place >= 0 and until > self._clock.now and place not in self._dead:
                return place
        place = place_of(key, len(self._members), self._living, self._dead)
        if place != jump(key, len(self._members)) and self._living:
            self._remember(key, place)
        return place

    def _remember(self, key: int, place: int) -> None:
        moved = self._moved
        moved.pop(key, None)
        if len(moved) >= STICKY_PAIRS:
            del moved[next(iter(moved))]
        moved[key] = (place, self._clock.now + STICKY_S)
