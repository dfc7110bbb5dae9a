"""What all groups are: outbounds that pick another one for each flow.

Built in two steps, for a group may name one that is built after it: `fill` gives it its members,
`apply` what was chosen. Invariants: members lead to no circle (`config.chains`), so that `pick`
ends at a leaf; `pick` allocates nothing, and changes nothing but `used`; a group knows its members
and nobody else, so that a configuration that was replaced goes by reference count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.outbound.base import Picker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mihomo_tproxy.config.specs.group import GroupSpec
    from mihomo_tproxy.model.enums import Verdict
    from mihomo_tproxy.model.group_state import GroupState
    from mihomo_tproxy.model.metadata import Metadata
    from mihomo_tproxy.outbound.base import Outbound, PacketLink, PacketSink


class Group(Picker):
    """One group."""

    def __init__(self, spec: GroupSpec) -> None:
        self.name = spec.name
        self.spec = spec
        self.used = False
        """Whether it picked for anybody; who reads it resets it."""

    @property
    def verdict(self) -> Verdict:
        """What the kernel may do with later flows, as long as the choices are these."""
        raise NotImplementedError

    @property
    def udp(self) -> bool:
        """Whether it takes datagrams."""
        raise NotImplementedError

    @property
    def passes(self) -> bool:
        """Whether the rules are asked on."""
        raise NotImplementedError

    def member(self, metadata: Metadata | None) -> Outbound:
        """The member that a flow takes, itself perhaps a group."""
        raise NotImplementedError

    def fill(self, members: Sequence[Outbound]) -> None:
        """Take the members, in the order and number of the spec's."""
        raise NotImplementedError

    def apply(self, state: GroupState) -> None:
        """Pick by this state from now on."""
        raise NotImplementedError

    def open_udp(self, sink: PacketSink) -> PacketLink | None:
        """A link of who is picked now, None for a group without UDP."""
        return super().open_udp(sink) if self.udp else None
