"""Consistent hashing of flows over the members of a group.

The key is the site a flow goes to: the registrable domain of its host, else its address. Jump
consistent hash (Lamping and Veach, arXiv:1406.2294): with one more member only those keys move that
the new one gets. A key whose member is dead looks at PROBES others in an order of its own, then at
the living ones alone: who was with a living member stays there, and the keys of a dead one spread
over all others. Same key, same members, same deaths: same pick, in every process, after a restart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from mihomo_tproxy.model.metadata import Metadata

PROBES: Final = 5

_MASK: Final = 0xFFFFFFFFFFFFFFFF
_STEP: Final = 2862933555777941757
_MIX: Final = 0xBF58476D1CE4E5B9
_SECOND_LEVEL: Final = frozenset(("ac", "co", "com", "edu", "go", "gov", "net", "or", "org"))
"""What stands below a country where names are not registered directly."""


def site_of(host: str) -> str:
    """The registrable domain of a host name: `a.b.example.co.uk` -> `example.co.uk`.

    By the form of the name; who shares a host of many sites (`github.io`) shares a member, too.
    """
    labels = host.rsplit(".", 3)
    if len(labels) < 3:
        return host
    below_country = len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVEL
    return ".".join(labels[-3 if below_country else -2 :])


def destination_of(metadata: Metadata | None) -> str:
    """Where a flow goes, as text; "" when no flow is known."""
    if metadata is None:
        return ""
    return site_of(metadata.host) if metadata.host else metadata.destination


def key_of(text: str) -> int:
    """The key of a text, the same in every process."""
    return crc32(text.encode(errors="replace"))


def jump(key: int, count: int) -> int:
    """The place of a key among `count` places, at least one."""
    found, following = 0, 0
    while following < count:
        found = following
        key = (key * _STEP + 1) & _MASK
        following = ((found + 1) << 31) // ((key >> 33) + 1)
    return found


def place_of(key: int, count: int, living: Sequence[int], dead: Container[int]) -> int:
    """The place of a key among `count` members of which some are dead; 0 when all are.

    `living` are the places that are not in `dead`.
    """
    if not living:
        return 0
    for _ in range(PROBES):
        place = jump(key, count)
        if place not in dead:
            return place
        key = ((key ^ key >> 15) * _MIX + 1) & _MASK  # neighbours of a key fall near its place
    return living[jump(key, len(living))]
