"""The keeper's own outbounds: what it tests, and what it downloads through.

They are those of the relays, in another process: same proxies, same groups, same dialers and marks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
        self._registry = build_outbounds(
            config.proxies, env, config.groups, state, config.provider_proxies
        )

    def follow(self, state: GroupState) -> None:
        """Groups lead where this state says."""
        self._registry.regroup(state)

    def find(self, name: str) -> Outbound:
        """The outbound of this name; a group is one too, and leads to its pick.

        Raises:
            FetchFailed: there is none.
        """
        outbound = self._registry.get(name)
        if outbound is None:
            raise FetchFailed("no-outbound", f"there is no outbound {name!r}")
        return outbound

    def through(self, name: str) -> Callable[[str, int], Outbound]:
        """Who carries a download's connections: the outbound of that name, DIRECT without one."""
        return lambda _host, _port: self.find(name or "DIRECT")

    def close(self) -> None:
        """Let go of questions under way."""
        self._resolver.close()
