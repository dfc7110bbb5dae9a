"""What the outbounds of one configuration share, and how each reaches its server."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    """Who carries a proxy's own connections; asked for each time, as a name may change sides."""


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
        self.outbounds: OutboundRegistry
        """Set once all of them exist."""
        self.interface_name = interface_name
        self.routing_mark = routing_mark

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
        if not spec.dialer_proxy:
            direct = Direct(self.context, self.dialer(spec), spec.name)
            return lambda: direct
        return lambda: self._find(spec.dialer_proxy)

    def _find(self, name: str) -> Outbound:
        outbound = self.outbounds.get(name)
        if outbound is None:
            raise LocalProtocolError("no-dialer-proxy", f"there is no outbound {name!r}")
        return outbound
