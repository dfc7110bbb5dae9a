"""What the parts expect of each other, so that siblings need not import each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from mihomo_tproxy.model.enums import Verdict
    from mihomo_tproxy.model.metadata import Decision, Metadata


class Rule(Protocol):
    """One line of `rules:`."""

    kind: str
    """As written in the file: `IP-CIDR`."""
    payload: str
    """What is matched, as written in the file; "" for MATCH."""
    target: str
    """The name of the outbound."""
    fields: int
    """The fields (`model.fields`) the match looks at."""

    resolves: bool
    """Whether it may ask for the address of a flow that only has a name."""

    weight: int
    """How many rules `match` may ask, itself or those inside it."""

    def match(self, metadata: Metadata) -> bool:
        """Whether the rule applies to the flow. Same metadata, same answer.

        Raises:
            NeedsAddress: the answer depends on an address that was not asked for yet.
        """

    def decide(self, metadata: Metadata) -> str:
        """The target for the flow, "" when the rule does not apply; raises as `match` does."""

    def targets(self) -> tuple[str, ...]:
        """Every target `decide` can name."""


class RuleEngine(Protocol):
    """The one place that decides flows."""

    fields: int
    """Everything (`model.fields`) that any of its rules looks at."""

    def match(self, metadata: Metadata) -> Decision:
        """The decision for a flow; the first rule that matches, in file order.

        Raises:
            NeedsAddress: it depends on the address of the flow's name (`rule.engine`).
        """

    def match_usable(self, metadata: Metadata, usable: Callable[[str], bool]) -> Decision:
        """As `match`, but a rule whose target is not usable for this flow is passed over."""


class VerdictMap(Protocol):
    """The relay's only way to the kernel: what it decided, so that the next flow never comes up."""

    def learn(self, metadata: Metadata, depends: int, verdict: Verdict) -> bool:
        """Cache a verdict for every flow that agrees with `metadata` in the fields `depends`.

        Returns whether the kernel holds it now: a decision that depends on what a packet does not
        show, or on fields this generation has no key for, is not cached. Never raises: a full or
        absent map costs speed, not correctness.
        """
