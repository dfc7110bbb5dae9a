"""`UID`: the user that a program of this host runs as, a list as ports are.

As in mihomo 1.19.32 the superuser is never matched: there 0 stands for an unknown user.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.base import BaseRule
from mihomo_tproxy.rule.ranges import in_ranges, parse_ranges

if TYPE_CHECKING:
    from mihomo_tproxy.model.metadata import Metadata

MAX_UID: Final = 0xFFFFFFFF


class Uid(BaseRule):
    """Matches the owner of the client's socket."""

    __slots__ = ("_ranges",)

    def __init__(self, kind: str, payload: str, target: str, options: frozenset[str]) -> None:
        super().__init__(kind, payload, target, fields.UID)
        self._ranges = parse_ranges(payload, "user id", MAX_UID)

    def match(self, metadata: Metadata) -> bool:
        return metadata.uid > 0 and in_ranges(self._ranges, metadata.uid)
