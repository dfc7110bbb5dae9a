"""The keeper's own outbounds: what it tests, and what it downloads through.

They are those of the relays, in another process: same proxies, same dialers, same marks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mihomo_tproxy.errors import FetchFailed
from mihomo_tproxy.net.resolve import SystemResolver
from mihomo_tproxy.outbound.env import OutboundEnv
from mihomo_tproxy.outbound.factory import build_outbounds

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from mihomo_tproxy.config.schema import Config
    from mihomo_tproxy.model.group_state import GroupState
    from mihomo_tproxy.net.icmp import Unreachable
    from mihomo_tproxy.net.relay import RelayContext
    from mihomo_tproxy.outbound.base import Outbound

DEPTH: Final = 64
"""Groups within groups; the configuration has no circles."""


class Outbounds:
    """Those of one configuration."""

    def __init__(
        self,
        config: Config,
        loop: asyncio.AbstractEventLoop,
        context: RelayContext,
        unreachable: Unreachable,
        state: GroupState,
    ) -> None:
        self._resolver = SystemResolver(loop, config.hosts)
        env = OutboundEnv(
            context, self._resolver, unreachable, config.interface_name, config.routing_mark
        )
        specs = (*config.proxies, *config.provider_proxies)
        self._registry = build_outbounds(specs, env)
        self._members = {group.name: group.members for group in config.groups}
        self._state = state

    def follow(self, state: GroupState) -> None:
        """Groups lead where this state says."""
        self._state = state

    def find(self, name: str) -> Outbound:
        """The outbound of this name, for a group the one it leads to.

        Raises:
            FetchFailed: there is none.
        """
        target = name
        for _ in range(DEPTH):
            members = self._members.get(target)
            if not members:
                break
            dead = self._state.dead.get(target, frozenset())
            alive = next((member for member in members if member not in dead), members[0])
            chosen = self._state.now.get(target, alive)
            target = chosen if chosen in members else members[0]
        outbound = self._registry.get(target)
        if outbound is None:
            raise FetchFailed("no-outbound", f"there is no outbound {name!r}")
        return outbound

    def through(self, name: str) -> Callable[[str, int], Outbound]:
        """Who carries a download's connections: the outbound of that name, DIRECT without one."""
        return lambda _host, _port: self.find(name or "DIRECT")

    def close(self) -> None:
        """Let go of questions under way."""
        self._resolver.close()
