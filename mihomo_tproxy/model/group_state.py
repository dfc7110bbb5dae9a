"""What groups decided, as values that travel between the processes."""

from __future__ import annotations

from typing import NamedTuple


class GroupState(NamedTuple):
    """The state of all groups at one moment."""

    now: dict[str, str]
    """select, url-test and fallback: group -> the member its flows take. A group that is absent,
    or whose member is not one of its own, takes its default (`GroupSpec.default`)."""
    dead: dict[str, frozenset[str]]
    """load-balance: group -> members that failed their last check."""


EMPTY_STATE = GroupState({}, {})
