"""What every rule kind shares: the line it was written as, and the fields it looks at.

Invariant: `match` reads of the metadata nothing but what `fields` names. The verdicts the kernel
caches are only right because of it (`rule.engine`).

Two bases are known to the engine by their contents, not by `match`: `rule.domain_list` (names)
and `rule.address` (addresses). Everything else is asked one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mihomo_tproxy.model.metadata import Metadata


class BaseRule:
    """One line of `rules:`. Subclasses set what they need to match, and `fields`."""

    __slots__ = ("fields", "kind", "payload", "target")

    resolves: bool = False
    """Whether `match` may ask for the address of a flow that only has a name (`Metadata.address`);
    a rule that can has DST_ADDR among its fields."""

    weight: int = 1
    """How many rules `match` may ask, itself or those inside it."""

    def __init__(self, kind: str, payload: str, target: str, fields: int) -> None:
        self.kind = kind
        self.payload = payload
        self.target = target
        self.fields = fields

    def match(self, metadata: Metadata) -> bool:
        """Whether the rule applies to the flow.

        Raises:
            NeedsAddress: the answer depends on an address that was not asked for yet.
        """
        raise NotImplementedError

    def decide(self, metadata: Metadata) -> str:
        """The target for the flow, "" when the rule does not apply. See `match`."""
        return self.target if self.match(metadata) else ""

    def targets(self) -> tuple[str, ...]:
        """Every target `decide` can name."""
        return (self.target,)

    def __repr__(self) -> str:
        return ",".join(part for part in (self.kind, self.payload, self.target) if part)
