"""`IN-NAME`: the listener a flow came in by, one or several with `/` between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.base import BaseRule
from mihomo_tproxy.rule.words import parse_words

if TYPE_CHECKING:
    from mihomo_tproxy.model.metadata import Metadata


class InName(BaseRule):
    """Matches the listener's name, letter by letter."""

    __slots__ = ("_names",)

    def __init__(self, kind: str, payload: str, target: str, options: frozenset[str]) -> None:
        super().__init__(kind, payload, target, fields.INBOUND)
        self._names = frozenset(parse_words(payload, "name"))

    def match(self, metadata: Metadata) -> bool:
        return metadata.inbound_name in self._names
