"""Which member a group that is checked takes, from what the checks found: pure functions.

A member counts as alive until a check of it failed. `delays` has the last delay of each that is
alive, in milliseconds, and `UNKNOWN_MS` for one that was never checked; who is absent, or at 0, is
dead. What the user fixed counts while that member is alive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

UNKNOWN_MS: Final = 0xFFFF
"""The delay of a member that was never checked: nothing that answered is slower."""


def choose_url_test(
    members: Sequence[str],
    delays: Mapping[str, int],
    current: str,
    tolerance_ms: int = 0,
    forced: str = "",
) -> str:
    """url-test: the fastest member, the current one while no other is better by the tolerance.

    A forced one stays while it is alive. Between equals the first wins; with none alive, the first
    of all. mihomo forgets the tolerance while the first member is the current one; here it holds
    for every member.

    Args:
        members: the group's, in order, at least one.
        current: the choice so far, "" for none.
        forced: what the user fixed, "" for none.
    """
    if forced in members and delays.get(forced):
        return forced
    fastest = min(members, key=lambda name: delays.get(name) or UNKNOWN_MS)
    if current not in members or not delays.get(current):
        return fastest
    behind = delays[current] - (delays.get(fastest) or UNKNOWN_MS)
    return fastest if behind > tolerance_ms else current


def choose_fallback(members: Sequence[str], alive: Collection[str], forced: str = "") -> str:
    """fallback: the forced member while it is alive, else the first that is, else the first."""
    if forced in members and forced in alive:
        return forced
    return next((name for name in members if name in alive), members[0])
