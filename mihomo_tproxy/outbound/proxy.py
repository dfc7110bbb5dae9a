"""The base of outbounds that go through a server: what they share is everything but the words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.errors import LocalProtocolError
from mihomo_tproxy.model.enums import Network, Verdict
from mihomo_tproxy.outbound.base import Leaf
from mihomo_tproxy.outbound.opening import open_flow, turn_away
from mihomo_tproxy.outbound.packets import open_packet_link

if TYPE_CHECKING:
    from socket import SocketType

    from mihomo_tproxy.codec.layer import Layer
    from mihomo_tproxy.config.specs.base import ServerSpec
    from mihomo_tproxy.model.metadata import Metadata
    from mihomo_tproxy.net.sockopt import SocketAddress
    from mihomo_tproxy.outbound.base import Answer, PacketLink, PacketSink, Route
    from mihomo_tproxy.outbound.env import OutboundEnv
    from mihomo_tproxy.transport.carrier import Carrier


class ProxyOutbound(Leaf):
    """A proxy server. A protocol says its layers; the dial, the flow and the links are here."""

    verdict = Verdict.UNKNOWN
    packet_per_destination = False
    """Whether a stream of datagrams has one remote (then each gets its own), or any number."""

    def __init__(self, env: OutboundEnv, spec: ServerSpec, carrier: Carrier) -> None:
        self.name = spec.name
        self.context = env.context
        self._server = spec.server
        self._port = spec.port
        self.udp = spec.udp
        self._carrier = carrier
        self._underlay = env.underlay(spec)
        self._traffic = env.context.tracker.traffic(spec.name, Network.TCP)

    def stream_layers(self, host: str, port: int) -> list[Layer]:
        """The protocol's layers for a stream to a destination, wire-most first.

        Raises:
            LocalProtocolError: the protocol cannot name the destination.
        """
        raise NotImplementedError

    def packet_layers(self, host: str, port: int) -> list[Layer]:
        """The protocol's layers for datagrams, the last a PacketLayer; (host, port) is the first
        destination.

        Raises:
            LocalProtocolError: the protocol cannot name the destination.
        """
        raise NotImplementedError

    def open_tcp(
        self, client: SocketType, metadata: Metadata, answer: Answer | None = None
    ) -> None:
        """Take an accepted client over, whatever happens; failures are counted, not raised."""
        host = metadata.host
        if metadata.fixed or not host:
            host = metadata.destination
        try:
            route = self.route(host, metadata.destination_port)
        except LocalProtocolError as error:
            turn_away(self.context.tracker, client, answer, error.cause)
            return
        open_flow(self.context, client, route, self._traffic, answer)

    def route(self, host: str, port: int) -> Route:
        """A stream to a destination by way of the server.

        Raises:
            LocalProtocolError: the protocol cannot name the host, or the server is out of reach.
        """
        route = self.server_route()
        route.layers.extend(self.stream_layers(host, port))
        return route

    def server_route(self) -> Route:
        """A stream to the server, up to what carries the protocol.

        Raises:
            LocalProtocolError: the server is out of reach.
        """
        route = self._underlay().route(self._server, self._port)
        route.layers.extend(self._carrier.layers())
        return route

    def open_udp(self, sink: PacketSink) -> PacketLink | None:
        """A link for one client port, None with `udp: false`."""
        return open_packet_link(self, sink) if self.udp else None

    def underlay_udp(self, sink: PacketSink) -> PacketLink | None:
        """Raw datagrams from where the server is reached: own sockets, or `dialer-proxy`'s.

        Raises:
            OSError: no descriptor for it.
        """
        return self._underlay().open_udp(sink)

    def refuse_udp(self, client: SocketAddress, destination: SocketAddress, size: int) -> None:
        """`udp: false`: the datagram is lost, and counted."""
        self.context.tracker.count("udp-disabled")
