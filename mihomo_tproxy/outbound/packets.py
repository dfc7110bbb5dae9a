"""Datagrams over streams: the PacketLinks of protocols that carry UDP inside TCP.

    association --- StreamLink --- PacketLayer --- Stream --- server      any remote (full cone)
    association --- PerDestinationLink --- a StreamLink for each remote   one remote a stream

Invariants: a stream is opened by the first datagram, and after it ended by the next one, but not
sooner than RETRY_S; what waits for a handshake is capped; datagrams are lost rather than delayed
when the server does not keep up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mihomo_tproxy.codec.layer import PacketLayer
from mihomo_tproxy.errors import LocalProtocolError, ProtocolError
from mihomo_tproxy.net.sockopt import socket_address
from mihomo_tproxy.outbound.stream import Stream

if TYPE_CHECKING:
    from mihomo_tproxy.codec.layer import Buffer
    from mihomo_tproxy.net.sockopt import SocketAddress
    from mihomo_tproxy.outbound.base import PacketLink, PacketSink
    from mihomo_tproxy.outbound.proxy import ProxyOutbound

QUEUE_DATAGRAMS: Final = 64
"""Datagrams of one client port that wait for the handshake."""
RETRY_S: Final = 1.0
IDLE_S: Final = 60.0
"""How long a stream that has one remote is kept for nothing."""
DESTINATION_LIMIT: Final = 256
"""Streams of one client port where each has one remote; the least used goes first."""


def open_packet_link(outbound: ProxyOutbound, sink: PacketSink) -> PacketLink:
    """A link for one client port."""
    if outbound.packet_per_destination:
        return PerDestinationLink(outbound, sink)
    return StreamLink(outbound, sink)


class StreamLink:
    """One stream of datagrams."""

    __slots__ = (
        *("_first", "_layer", "_outbound", "_queue", "_retry_at", "_sink", "_stream", "active"),
    )

    def __init__(self, outbound: ProxyOutbound, sink: PacketSink) -> None:
        self._outbound = outbound
        self._sink: PacketSink | None = sink
        self._stream: Stream | None = None
        self._layer: PacketLayer | None = None
        self._first: SocketAddress = ("", 0)
        self._queue: list[tuple[bytes, str, int]] = []
        self._retry_at = 0.0
        self.active = outbound.context.reactor.now
        """When a datagram last came or went, reactor time."""

    def send(self, data: memoryview, destination: SocketAddress) -> None:
        """Send a datagram, or keep it until the stream is there."""
        self.active = now = self._outbound.context.reactor.now
        if self._stream is None:
            if now < self._retry_at:
                self._count("udp-stream-down")
                return
            self._retry_at = now + RETRY_S
            self._keep(data, destination)
            self._open(destination)
        elif self._layer is not None and self._layer.ready and self._stream.ready:
            self._send(data, destination[0], destination[1])
        else:
            self._keep(data, destination)

    def close(self) -> None:
        """Let go of the stream and of the sink."""
        self._sink = None
        self._queue.clear()
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def on_ready(self) -> None:
        """The stream's layers are ready: the datagram layer's turn."""
        layer = self._layer
        if layer is not None:
            layer.begin()
            self._after_layer(layer)

    def on_payload(self, data: Buffer) -> None:
        """Datagrams arrived."""
        layer, first = self._layer, self._first
        if layer is None:
            return
        self.active = self._outbound.context.reactor.now
        for packet in layer.feed_packets(data):
            if self._sink is None:
                return
            host, port = (packet.host, packet.port) if packet.host else (first[0], first[1])
            self._sink.deliver(memoryview(packet.data), socket_address(host, port))
        self._after_layer(layer)
        if layer.ended and self._stream is not None:
            self._stream.close()
            self.on_end("")

    def on_end(self, cause: str) -> None:
        """The stream is over; the next datagram opens another."""
        self._stream = None
        self._layer = None
        if cause:
            self._count(cause)
            self._queue.clear()

    def _open(self, destination: SocketAddress) -> None:
        outbound = self._outbound
        try:
            route = outbound.server_route()
            layers = outbound.packet_layers(destination[0], destination[1])
        except LocalProtocolError as error:
            self._count(error.cause)
            self._queue.clear()
            return
        layer = layers.pop()
        assert isinstance(layer, PacketLayer)  # noqa: S101 - what packet_layers promises
        route.layers.extend(layers)
        self._layer = layer
        self._first = destination
        self._stream = stream = Stream(outbound.context, route, self)
        stream.open()

    def _after_layer(self, layer: PacketLayer) -> None:
        if layer.output and self._stream is not None:
            wire, layer.output = layer.output, b""
            self._stream.send(wire)
        if layer.ready and self._queue:
            queue, self._queue = self._queue, []
            for data, host, port in queue:
                self._send(data, host, port)

    def _keep(self, data: memoryview, destination: SocketAddress) -> None:
        if len(self._queue) < QUEUE_DATAGRAMS:
            self._queue.append((bytes(data), destination[0], destination[1]))
        else:
            self._count("udp-queue-full")

    def _send(self, data: Buffer, host: str, port: int) -> None:
        stream, layer = self._stream, self._layer
        if stream is None or layer is None:
            return
        if not stream.has_room:  # known before the layer says what it says once
            self._count("udp-stream-full")
            return
        try:
            wire = layer.seal_packet(data, host, port)
        except ProtocolError as error:
            self._count(error.cause)
            return
        stream.send(wire)

    def _count(self, cause: str) -> None:
        self._outbound.context.tracker.count(cause)


class PerDestinationLink:
    """A StreamLink for each remote."""

    __slots__ = ("_links", "_outbound", "_sink")

    def __init__(self, outbound: ProxyOutbound, sink: PacketSink) -> None:
        self._outbound = outbound
        self._sink = sink
        self._links: dict[SocketAddress, StreamLink] = {}

    def send(self, data: memoryview, destination: SocketAddress) -> None:
        """Send by the stream of this remote."""
        link = self._links.pop(destination, None)
        if link is None:
            self._close_idle()
            if len(self._links) >= DESTINATION_LIMIT:
                self._links.pop(next(iter(self._links))).close()
                self._outbound.context.tracker.count("udp-stream-evicted")
            link = StreamLink(self._outbound, self._sink)
        self._links[destination] = link
        link.send(data, destination)

    def _close_idle(self) -> None:
        """Close those at the head, where who was sent to longest ago is, that nobody needs."""
        idle_since = self._outbound.context.reactor.now - IDLE_S
        while self._links:
            destination, link = next(iter(self._links.items()))
            if link.active > idle_since:
                return
            del self._links[destination]
            link.close()

    def close(self) -> None:
        """Close all of them."""
        for link in self._links.values():
            link.close()
        self._links.clear()
