"""Outbounds by name, as the rules' targets name them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mihomo_tproxy.group.base import Group
    from mihomo_tproxy.model.group_state import GroupState
    from mihomo_tproxy.outbound.base import Outbound


class OutboundRegistry(dict[str, "Outbound"]):
    """Name -> outbound. A name is added once; a reload builds a new registry."""

    def __init__(self, outbounds: Iterable[Outbound] = ()) -> None:
        super().__init__()
        self.groups: list[Group] = []
        for outbound in outbounds:
            self.add(outbound)

    def add(self, outbound: Outbound) -> None:
        """Register an outbound under its name.

        Raises:
            ValueError: the name is taken.
        """
        if outbound.name in self:
            raise ValueError(f"two outbounds are called {outbound.name!r}")
        self[outbound.name] = outbound

    def add_group(self, group: Group) -> None:
        """Register a group; raises as `add` does."""
        self.add(group)
        self.groups.append(group)

    def regroup(self, state: GroupState) -> None:
        """All groups pick by this state from now on."""
        for group in self.groups:
            group.apply(state)

    def take_used(self) -> tuple[str, ...]:
        """The names of the groups that picked since this was asked last."""
        used = [group for group in self.groups if group.used]
        for group in used:
            group.used = False
        return tuple(group.name for group in used)
