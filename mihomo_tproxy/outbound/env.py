"""What the outbounds of one configuration share, and how each reaches its server."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING
from weakref import ref

from mihomo_tproxy.errors import LocalProtocolError
from mihomo_tproxy.net.dial import Dialer
from mihomo_tproxy.outbound.direct import Direct

if TYPE_CHECKING:
    from collections.abc import Callable

    from mihomo_tproxy.config.specs.base import ProxySpec
    from mihomo_tproxy.net.icmp import Unreachable
    from mihomo_tproxy.net.relay import RelayContext
    from mihomo_tproxy.net.resolve import Resolver
    from mihomo_tproxy.outbound.base import Outbound
    from mihomo_tproxy.outbound.registry import OutboundRegistry

    Underlay = Callable[[], Outbound]
    """Who carries a proxy's own connections; known when the first of them is opened."""


class OutboundEnv:
    """The worker's objects and the file's defaults that every outbound needs."""

    def __init__(
        self,
        context: RelayContext,
        resolver: Resolver,
        unreachable: Unreachable,
        interface_name: str = "",
        routing_mark: int = 0,
    ) -> None:
        self.context = context
        self.resolver = resolver
        self.unreachable = unreachable
        self._outbounds: ref[OutboundRegistry] | None = None
        self._underlay: Underlay | None = None
        self._chains: list[Chain] = []
        self.interface_name = interface_name
        self.routing_mark = routing_mark

    @property
    def outbounds(self) -> OutboundRegistry | None:
        """All of them; None until they exist, and when they are replaced."""
        return self._outbounds() if self._outbounds is not None else None

    @outbounds.setter
    def outbounds(self, outbounds: OutboundRegistry) -> None:
        self._outbounds = ref(outbounds)
        for chain in self._chains:
            chain.find(outbounds)
        self._chains.clear()

    def dialer(self, spec: ProxySpec) -> Dialer:
        """A dialer with the options of an entry, or the file's where it has none."""
        return Dialer(
            self.context,
            self.resolver,
            spec.interface_name or self.interface_name,
            spec.routing_mark or self.routing_mark,
            spec.ip_version,
            tfo=spec.tfo,
        )

    def underlay(self, spec: ProxySpec) -> Underlay:
        """How an entry's own connections leave: from here, or through its `dialer-proxy`."""
        if self._underlay is not None:
            return self._underlay
        if not spec.dialer_proxy:
            direct = Direct(self.context, self.dialer(spec), spec.name)
            return lambda: direct
        chain = Chain(spec.dialer_proxy)
        outbounds = self.outbounds
        if outbounds is None:
            self._chains.append(chain)
        else:
            chain.find(outbounds)
        return chain

    def over(self, underlay: Underlay) -> OutboundEnv:
        """The same for an outbound whose own connections leave that way."""
        env = copy(self)
        env._underlay = underlay
        return env


class Chain:
    """The outbound under another's connections.

    It knows that one and not the registry: with the last flow a configuration goes by reference
    count, as what is frozen (`net.gc_watch`) has no other way to go.
    """

    __slots__ = ("_name", "_outbound")

    def __init__(self, name: str) -> None:
        self._name = name
        self._outbound: Outbound | None = None

    def find(self, outbounds: OutboundRegistry) -> None:
        """Remember the outbound of this name, if there is one."""
        self._outbound = outbounds.get(self._name)

    def __call__(self) -> Outbound:
        """The outbound, of a group the one it picks now.

        Raises:
            LocalProtocolError: there is none.
        """
        if self._outbound is None:
            raise LocalProtocolError("no-dialer-proxy", f"there is no outbound {self._name!r}")
        return self._outbound.pick(None)
