"""The keeper's own outbounds: what it tests, and what it downloads through.

They are those of the relays, in another process: same proxies, same groups, same dialers and marks.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mihomo_tproxy.errors import FetchFailed, NeedsAddress
from mihomo_tproxy.model.enums import InboundType, Network
from mihomo_tproxy.model.metadata import RequestMetadata
from mihomo_tproxy.net.resolve import SystemResolver
from mihomo_tproxy.net.sockopt import is_literal
from mihomo_tproxy.outbound.env import OutboundEnv
from mihomo_tproxy.outbound.factory import build_outbounds
from mihomo_tproxy.rule.engine import Engine
from mihomo_tproxy.tunnel.tunnel import first_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from mihomo_tproxy.config.schema import Config
    from mihomo_tproxy.keeper.http import FindOutbound
    from mihomo_tproxy.model.group_state import GroupState
    from mihomo_tproxy.net.icmp import Unreachable
    from mihomo_tproxy.net.relay import RelayContext
    from mihomo_tproxy.net.resolve import Resolved
    from mihomo_tproxy.outbound.base import Outbound
    from mihomo_tproxy.rule.image import Image


class Outbounds:
    """Those of one configuration."""

    def __init__(
        self,
        config: Config,
        loop: asyncio.AbstractEventLoop,
        context: RelayContext,
        unreachable: Unreachable,
        state: GroupState,
        image: Image | None = None,
    ) -> None:
        """`image`: the rules that downloads go by; without them they go DIRECT."""
        self._engine = Engine(image, config.mode) if image is not None else None
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

    def through(self, name: str) -> FindOutbound:
        """Who carries a download's connections: the outbound of that name, else as rules say."""

        async def find(host: str, port: int) -> Outbound:
            return self.find(name or await self._decide(host, port))

        return find

    async def _decide(self, host: str, port: int) -> str:
        """The target of a flow of our own (mihomo: IN-TYPE INNER)."""
        engine = self._engine
        if engine is None:
            return "DIRECT"
        literal = is_literal(host)
        metadata = RequestMetadata(
            Network.TCP,
            InboundType.INNER,
            "0.0.0.0",  # noqa: S104 - nobody: no client asked
            0,
            host if literal else "",
            port,
            "" if literal else host.lower(),
        )
        usable = self._usable(metadata)
        try:
            return engine.match_usable(metadata, usable).target
        except NeedsAddress:
            metadata.resolved = await self._resolve(metadata.host)
            return engine.match_usable(metadata, usable).target

    def _usable(self, metadata: RequestMetadata) -> Callable[[str], bool]:
        def usable(name: str) -> bool:
            outbound = self._registry.get(name)
            return outbound is not None and not outbound.pick(metadata).passes

        return usable

    async def _resolve(self, host: str) -> str:
        found: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def done(addresses: Resolved) -> None:
            if not found.done():
                found.set_result(first_address(addresses))

        self._resolver.resolve(host, done)
        return await found

    def close(self) -> None:
        """Let go of questions under way."""
        self._resolver.close()
