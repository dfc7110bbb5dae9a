"""How url-test and fallback choose, by the last delays of those members that are alive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

UNKNOWN_MS: Final = 0xFFFF
"""The delay of a member that was never tested."""


def choose_url_test(
    members: Sequence[str],
    delays: Mapping[str, int],
    current: str,
    tolerance_ms: int = 0,
    forced: str = "",
) -> str:
    """The forced member while it is alive, else the fastest; the current one if it is near."""
    if forced in delays:
        return forced
    best = min(members, key=lambda name: delays.get(name, UNKNOWN_MS))
    known = current in members and current in delays
    near = known and delays[current] <= delays.get(best, UNKNOWN_MS) + tolerance_ms
    return current if near else best


def choose_fallback(members: Sequence[str], alive: Collection[str], forced: str = "") -> str:
    """The forced member while it is alive, else the first that is, else the first."""
    if forced in alive:
        return forced
    return next((name for name in members if name in alive), members[0])
