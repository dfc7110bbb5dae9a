"""What the supervisor knows of groups: who they are, what they chose, how their members fare.

Selections live here; url-test, fallback and load-balance are the keeper's to decide, and what it
decided last is remembered here for processes that start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mihomo_tproxy.config.specs.group import GroupType
from mihomo_tproxy.control import answer
from mihomo_tproxy.errors import GatewayError
from mihomo_tproxy.model.enums import TunnelMode
from mihomo_tproxy.model.group_state import EMPTY_STATE, GroupState

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from mihomo_tproxy.config.specs.group import GroupSpec
    from mihomo_tproxy.keeping import Keeper

MAX_ASKED: Final = 64
"""Clients that wait for the keeper at a time."""
CHECK_MS: Final = 5000
CHECK_MOST_MS: Final = 30_000
"""The longest a check may take; a client waits twice as long."""


class Groups:
    """The groups of the configuration in force."""

    def __init__(self) -> None:
        self.state: GroupState = EMPTY_STATE
        self.delays: dict[str, list[tuple[float, int]]] = {}
        """Proxy -> its last checks: (time, milliseconds; 0 failed), oldest first."""
        self._specs: dict[str, GroupSpec] = {}
        self._asked: dict[int, socket.socket] = {}
        self._last = 0

    def replace(self, specs: tuple[GroupSpec, ...], selected: Mapping[str, str]) -> GroupState:
        """Take another configuration's groups; what they chose stays where it still can.

        `selected` counts where nothing was chosen yet. Returns the state before, for `restore`.
        """
        before = self.state
        self._specs = {spec.name: spec for spec in specs}
        chosen = {**selected, **before.now}
        self.state = GroupState(
            {
                name: member
                for name, member in chosen.items()
                if name in self._specs and member in self._specs[name].members
            },
            {name: dead for name, dead in before.dead.items() if name in self._specs},
        )
        return before

    def restore(self, specs: tuple[GroupSpec, ...], state: GroupState) -> None:
        """Take the groups of before again, and what they chose."""
        self._specs = {spec.name: spec for spec in specs}
        self.state = state

    def decided(self, state: GroupState) -> GroupState:
        """What the keeper decided, and beside it what was selected here.

        The keeper may have said it before it heard of the last selection, or of other groups.
        """
        selects = (spec.name for spec in self._specs.values() if spec.type is GroupType.SELECT)
        own = {name: self.state.now[name] for name in selects if name in self.state.now}
        now = {
            name: member
            for name, member in state.now.items()
            if name in self._specs and self._specs[name].type is not GroupType.SELECT
        }
        return GroupState({**now, **own}, state.dead)

    def selected(self, group: str, member: str) -> GroupState:
        """The state after a selection.

        "" lets a url-test or fallback group choose again by itself.

        Raises:
            GatewayError: there is no such group or member, or it takes no selection.
        """
        spec = self._specs.get(group)
        if spec is None:
            raise GatewayError(f"there is no group {group!r}")
        if spec.type is GroupType.LOAD_BALANCE:
            raise GatewayError(f"{group!r} is a load-balance group: it uses all of its members")
        if not member:
            if spec.type is GroupType.SELECT:
                raise GatewayError(f"{group!r} is a select group: name one of its members")
            return self.state
        if member not in spec.members:
            raise GatewayError(f"{group!r} has no member {member!r}")
        return self.state._replace(now={**self.state.now, group: member})

    def mode_of(self, word: object) -> TunnelMode:
        """A mode by its name.

        Raises:
            GatewayError: there is no such mode.
        """
        try:
            return TunnelMode(str(word).lower())
        except ValueError:
            known = ", ".join(TunnelMode)
            raise GatewayError(f"unknown mode {word!r}, there are: {known}") from None

    def report(self, mode: TunnelMode) -> dict[str, Any]:
        """Everything about them, for people and dashboards."""
        return {
            "mode": str(mode),
            "groups": [self._describe(spec) for spec in self._specs.values()],
            "delays": {name: checks[-1][1] for name, checks in self.delays.items() if checks},
        }

    def forward(
        self, client: socket.socket, keeper: Keeper, command: str, request: dict[str, Any]
    ) -> None:
        """Have the keeper answer a client.

        Raises:
            GatewayError: there is no keeper, or what is asked for makes no sense.
        """
        name = str(request.get("name", ""))
        arguments: tuple[Any, ...] = (name,)
        if command == "check":
            timeout = request.get("timeout", CHECK_MS)
            if not isinstance(timeout, int) or not 0 < timeout <= CHECK_MOST_MS:
                raise GatewayError(f"a check takes 1 to {CHECK_MOST_MS} ms, not {timeout!r}")
            arguments = (name, str(request.get("url", "")), timeout)
        self._last += 1
        if not keeper.tell(command, self._last, *arguments):
            raise GatewayError("the process for checks and downloads does not run: see the log")
        if len(self._asked) >= MAX_ASKED:
            self.answer(next(iter(self._asked)), {"error": "too many wait for an answer"})
        self._asked[self._last] = client

    def answer(self, number: int, result: dict[str, Any]) -> None:
        """Pass the keeper's answer on to who waits for it."""
        client = self._asked.pop(number, None)
        if client is not None:
            answer(client, result)

    def abandon(self) -> None:
        """Nobody who waits for the keeper will be answered: it is gone."""
        for number in list(self._asked):
            self.answer(number, {"error": "the process for checks and downloads died: see the log"})

    def forget_clients(self) -> None:
        """In a forked child: those who wait are not ours."""
        for client in self._asked.values():
            client.close()

    def _describe(self, spec: GroupSpec) -> dict[str, Any]:
        now = self.state.now.get(spec.name)
        if now is None and spec.type is not GroupType.LOAD_BALANCE:
            now = spec.default
        return {
            "name": spec.name,
            "type": str(spec.type),
            "now": now,
            "members": list(spec.members),
            "dead": sorted(self.state.dead.get(spec.name, ())),
            "hidden": spec.hidden,
        }
