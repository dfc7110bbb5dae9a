"""The redirect inbound: connections that netfilter's REDIRECT brought here (`redir-port`).

Where they wanted to go is asked of connection tracking: SO_ORIGINAL_DST of
`linux/netfilter_ipv4.h`, IP6T_SO_ORIGINAL_DST of `linux/netfilter_ipv6/ip6_tables.h`, both 80.
"""

from __future__ import annotations

from socket import AF_INET6, IPPROTO_IP, IPPROTO_IPV6, SocketType, inet_ntoa, inet_ntop
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.inbound.listener import Acceptor, LoopGuard
from mihomo_tproxy.model.enums import InboundType, Network
from mihomo_tproxy.model.metadata import RequestMetadata

if TYPE_CHECKING:
    from collections.abc import Callable

    from mihomo_tproxy.config.specs.listener import AccessSpec, ListenerSpec
    from mihomo_tproxy.net.relay import RelayContext
    from mihomo_tproxy.net.sockopt import SocketAddress
    from mihomo_tproxy.tunnel.tunnel import Tunnel

SO_ORIGINAL_DST: Final = 80
_SOCKADDR_IN: Final = 16
_SOCKADDR_IN6: Final = 28


def original_destination(client: SocketType) -> SocketAddress:
    """Where a redirected connection wanted to go.

    Raises:
        OSError: connection tracking does not know it: nobody redirected it.
    """
    if client.family == AF_INET6:
        data = client.getsockopt(IPPROTO_IPV6, SO_ORIGINAL_DST, _SOCKADDR_IN6)
        scope = int.from_bytes(data[24:28], "little")
        return (inet_ntop(AF_INET6, data[8:24]), data[2] << 8 | data[3], 0, scope)
    data = client.getsockopt(IPPROTO_IP, SO_ORIGINAL_DST, _SOCKADDR_IN)
    return (inet_ntoa(data[4:8]), data[2] << 8 | data[3])


class RedirListener(Acceptor):
    """Accepts redirected connections and hands them to the tunnel."""

    def __init__(
        self,
        context: RelayContext,
        sock: SocketType,
        tunnel: Tunnel,
        spec: ListenerSpec,
        destination_of: Callable[[SocketType], SocketAddress] = original_destination,
    ) -> None:
        """Take the socket over. `destination_of` tells where an accepted client wanted to go."""
        super().__init__(context.reactor, sock, context.tracker)
        self._tunnel = tunnel
        self._destination_of = destination_of
        self._guard = LoopGuard(sock)
        self._name = spec.name
        self._port = spec.port
        self._proxy = spec.proxy

    def configure(self, context: RelayContext, spec: ListenerSpec, access: AccessSpec) -> None:
        """Take this for clients that come from now on; everybody may come."""
        self._name = spec.name
        self._port = spec.port
        self._proxy = spec.proxy

    def take(self, client: SocketType, source: SocketAddress) -> None:
        """Hand a client to the tunnel, unless it wanted to come here."""
        try:
            destination = self._destination_of(client)
        except OSError:
            self.refuse(client, "redir-no-destination")
            return
        if destination[1] == self._guard.port and self._guard.is_loop(destination):
            self.refuse(client, "loop")
            return
        metadata = RequestMetadata(
            Network.TCP,
            InboundType.REDIR,
            source[0],
            source[1],
            destination[0],
            destination[1],
        )
        metadata.inbound_name = self._name
        metadata.inbound_port = self._port
        metadata.inbound_user = ""
        metadata.proxy = self._proxy
        self._tunnel.handle_request(client, metadata, None)
