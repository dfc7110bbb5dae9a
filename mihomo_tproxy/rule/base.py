"""What every rule kind shares: the line it was written as, and the fields it looks at.

Invariant: `match` reads of the metadata nothing but what `fields` names. The verdicts the kernel
caches are only right because of it (`rule.engine`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mihomo_tproxy.model.metadata import Metadata


class BaseRule:
    """One line of `rules:`. Subclasses set what they need to match, and `fields`."""

    __slots__ = ("fields", "kind", "payload", "target")

    def __init__(self, kind: str, payload: str, target: str, fields: int) -> None:
        self.kind = kind
        self.payload = payload
        self.target = target
        self.fields = fields

    def match(self, metadata: Metadata) -> bool:
        """Whether the rule applies to the flow."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return ",".join(part for part in (self.kind, self.payload, self.target) if part)
