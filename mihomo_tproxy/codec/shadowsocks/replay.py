"""The sliding window of packet ids already seen, as in IPsec and WireGuard (RFC 6479).

A bit of an int for each of the last WINDOW_PACKETS ids, the highest the lowest bit. An id is taken
once; what is older than the window is refused. `is_new` asks before a packet was verified, `mark`
notes it after.
"""

from __future__ import annotations

from typing import Final

WINDOW_PACKETS: Final = 1024
_MASK: Final = (1 << WINDOW_PACKETS) - 1


class ReplayWindow:
    """The ids of one session."""

    __slots__ = ("_bits", "_highest")

    def __init__(self) -> None:
        self._bits = 0
        self._highest = -1

    def is_new(self, number: int) -> bool:
        """Whether a packet of this id may be taken."""
        behind = self._highest - number
        if behind < 0:
            return True
        return behind < WINDOW_PACKETS and not self._bits >> behind & 1

    def mark(self, number: int) -> None:
        """A packet of this id was taken."""
        ahead = number - self._highest
        if ahead > 0:
            self._highest = number
            self._bits = (self._bits << ahead | 1) & _MASK if ahead < WINDOW_PACKETS else 1
        else:
            self._bits |= 1 << -ahead
