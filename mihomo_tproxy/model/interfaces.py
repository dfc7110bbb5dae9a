"""What the parts expect of each other, so that siblings need not import each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
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

    def match(self, metadata: Metadata) -> bool:
        """Whether the rule applies to the flow. Pure: same metadata, same answer."""


class RuleEngine(Protocol):
    """The one place that decides flows."""

    def match(self, metadata: Metadata) -> Decision:
        """The decision for a flow; the first rule that matches, in file order."""


class VerdictMap(Protocol):
    """The relay's only way to the kernel: what it decided, so that the next flow never comes up."""

    def learn(self, metadata: Metadata, depends: int, verdict: Verdict) -> bool:
        """Cache a verdict for every flow that agrees with `metadata` in the fields `depends`.

        Returns whether the kernel holds it now: a decision that depends on what a packet does not
        show, or on fields this generation has no key for, is not cached. Never raises: a full or
        absent map costs speed, not correctness.
        """
