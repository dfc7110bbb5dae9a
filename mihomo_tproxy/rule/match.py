"""`MATCH,target`: every flow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.rule.base import BaseRule

if TYPE_CHECKING:
    from mihomo_tproxy.model.metadata import Metadata


class Match(BaseRule):
    """Matches always and looks at nothing."""

    __slots__ = ()

    def __init__(self, kind: str, payload: str, target: str, options: frozenset[str]) -> None:
        super().__init__(kind, payload, target, 0)

    def match(self, metadata: Metadata) -> bool:
        return True
