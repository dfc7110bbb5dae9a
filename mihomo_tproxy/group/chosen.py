"""select, url-test and fallback: every flow takes the one member that was chosen.

Who chooses differs (the user; the keeper, by `group.choosing`), and is not here: in a worker the
three are one. mihomo: a group is as able and as final as the member it takes now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.group.base import Group
from mihomo_tproxy.outbound.deferred import Deferred

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mihomo_tproxy.config.specs.group import GroupSpec
    from mihomo_tproxy.model.enums import Verdict
    from mihomo_tproxy.model.group_state import GroupState
    from mihomo_tproxy.model.metadata import Metadata
    from mihomo_tproxy.outbound.base import Outbound


class Chosen(Group):
    """A group with one choice at a time."""

    _choice: Outbound

    def __init__(self, spec: GroupSpec) -> None:
        super().__init__(spec)
        self._members: tuple[Outbound, ...] = ()
        self._chosen: str | None = ""
        """What the state said last: None for nothing, "" before it was asked."""

    def fill(self, members: Sequence[Outbound]) -> None:
        """Take the members, and the default as the choice."""
        self._members = tuple(members)
        self._chosen = ""
        self._choice = self._member(self.spec.default)

    def apply(self, state: GroupState) -> None:
        """Take the choice of the state, or the default."""
        chosen = state.now.get(self.name)
        if chosen != self._chosen:  # to look for it among thousands takes time
            self._chosen = chosen
            if chosen is None or chosen not in self.spec.members:
                chosen = self.spec.default
            self._choice = choice = self._member(chosen)
            if isinstance(choice, Deferred):
                choice.pick(None)  # now, and not while the next flow waits for it

    def pick(self, metadata: Metadata | None) -> Outbound:
        """The choice's pick."""
        self.used = True
        return self._choice.pick(metadata)

    def member(self, metadata: Metadata | None) -> Outbound:
        """The choice."""
        return self._choice

    @property
    def verdict(self) -> Verdict:
        """The choice's; when the choice changes, the kernel forgets it."""
        return self._choice.verdict

    @property
    def udp(self) -> bool:
        """The choice's, unless `disable-udp`."""
        return not self.spec.disable_udp and self._choice.udp

    @property
    def passes(self) -> bool:
        """Whether the choice is PASS."""
        return self._choice.passes

    def _member(self, name: str) -> Outbound:
        return self._members[self.spec.members.index(name)]
