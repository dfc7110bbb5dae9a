"""Groups from their specs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.config.specs.group import GroupType
from mihomo_tproxy.group.chosen import Chosen

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mihomo_tproxy.config.specs.group import GroupSpec
    from mihomo_tproxy.group.balance import Clock
    from mihomo_tproxy.model.group_state import GroupState
    from mihomo_tproxy.outbound.registry import OutboundRegistry


def build_groups(
    specs: Iterable[GroupSpec], registry: OutboundRegistry, state: GroupState, clock: Clock
) -> None:
    """Build the groups into the outbounds, which have all members that are no group.

    Raises:
        ValueError: a name is taken.
        KeyError: a member does not exist.
    """
    for spec in specs:
        if spec.type is GroupType.LOAD_BALANCE:
            # Not needed by whoever has no such group.
            from mihomo_tproxy.group.balance import Balance

            registry.add_group(Balance(spec, clock))
        else:
            registry.add_group(Chosen(spec))
    for group in registry.groups:
        group.fill([registry[name] for name in group.spec.members])
    registry.regroup(state)
