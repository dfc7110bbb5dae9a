"""`DOMAIN`: exactly this name. And what the domain kinds share: how a written name is normalised.

Names are compared lower-cased and in their ASCII form (RFC 3492); a flow's host is kept that way by
whoever names it. mihomo 1.19.32 compares the letters as written: a name outside ASCII matches there
only what no browser sends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.base import BaseRule

if TYPE_CHECKING:
    from mihomo_tproxy.model.metadata import Metadata


class Domain(BaseRule):
    """Matches one name."""

    __slots__ = ("domain",)

    def __init__(self, kind: str, payload: str, target: str, options: frozenset[str]) -> None:
        super().__init__(kind, payload, target, fields.DOMAIN)
        self.domain = ascii_name(payload)

    def match(self, metadata: Metadata) -> bool:
        return metadata.host == self.domain


def ascii_name(text: str) -> str:
    """A name, or a part of one, lower-cased, each label that needs it in Punycode."""
    lowered = text.lower()
    if lowered.isascii():
        return lowered
    return ".".join(
        label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii")
        for label in lowered.split(".")
    )
