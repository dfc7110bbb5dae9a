"""`type: socks5`: streams by CONNECT, datagrams by UDP ASSOCIATE (RFC 1928).

    association --- Socks5Link --- control stream (TCP, TLS where configured) --- server
                         |
                         +-------- datagrams, plain UDP --------------------- relay address

One link is one association: every remote's datagrams take the same way, so the server's NAT decides
how full a cone it is. Invariants: a control stream is opened by the first datagram and, after it
ended, by the next one, but not sooner than RETRY_S; what waits for it is capped; what does not come
from the relay, or comes in fragments, is dropped and counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mihomo_tproxy.codec.address import SOCKS_NAME
from mihomo_tproxy.codec.socks5 import encode_credentials, encode_udp, parse_udp
from mihomo_tproxy.codec.socks5_client import Socks5Associate, Socks5Connect
from mihomo_tproxy.errors import LocalProtocolError, RemoteProtocolError
from mihomo_tproxy.model.address import address_key, address_text
from mihomo_tproxy.net.sockopt import cause_of, is_literal, socket_address
from mihomo_tproxy.outbound.packets import QUEUE_DATAGRAMS, RETRY_S
from mihomo_tproxy.outbound.proxy import ProxyOutbound
from mihomo_tproxy.outbound.stream import Stream
from mihomo_tproxy.transport.carrier import carrier_of

if TYPE_CHECKING:
    from mihomo_tproxy.codec.layer import Buffer, Layer
    from mihomo_tproxy.config.specs.socks5 import Socks5Spec
    from mihomo_tproxy.net.sockopt import SocketAddress
    from mihomo_tproxy.outbound.base import PacketLink, PacketSink
    from mihomo_tproxy.outbound.env import OutboundEnv
    from mihomo_tproxy.transport.carrier import Carrier

NAME_LIMIT: Final = 256
"""Names of one client port whose replies are known to be wanted."""
_UNSPECIFIED: Final = ("0.0.0.0", "::")  # noqa: S104 # what servers say, nothing is bound
_ADDRESS_TYPE_AT: Final = 3


class Socks5(ProxyOutbound):
    """One SOCKS5 server."""

    def __init__(self, env: OutboundEnv, spec: Socks5Spec, carrier: Carrier) -> None:
        super().__init__(env, spec, carrier)
        self._chained = bool(spec.dialer_proxy)
        if is_literal(self._server):
            self._server = address_text(address_key(self._server))
        self._credentials = b""
        if spec.username:
            self._credentials = encode_credentials(spec.username, spec.password)

    def stream_layers(self, host: str, port: int) -> list[Layer]:
        """A CONNECT to a destination.

        Raises:
            LocalProtocolError: no host that SOCKS can name.
        """
        return [Socks5Connect(host, port, self._credentials)]

    def open_udp(self, sink: PacketSink) -> PacketLink | None:
        """A link for one client port, None with `udp: false`."""
        return Socks5Link(self, sink) if self.udp else None

    def associate(self) -> Socks5Associate:
        """The layer of a new association."""
        return Socks5Associate(self._credentials)

    def relay_address(self, bound: tuple[str, int], control: Stream) -> SocketAddress:
        """Where datagrams go, by the server's reply: to itself if it names no address."""
        host, port = bound
        if host not in _UNSPECIFIED:
            return socket_address(host, port)
        if self._chained:
            return socket_address(self._server, port)
        return (control.peer[0], port, *control.peer[2:])


class Socks5Link:
    """One association: its control stream and its datagrams."""

    __slots__ = (
        "_control",
        "_layer",
        "_names",
        "_outbound",
        "_peer",
        "_queue",
        "_relay",
        "_retry_at",
        "_sink",
        "_way",
    )

    def __init__(self, outbound: Socks5, sink: PacketSink) -> None:
        self._outbound = outbound
        self._sink: PacketSink | None = sink
        self._layer: Socks5Associate | None = None
        self._control: Stream | None = None
        self._way: PacketLink | None = None
        self._relay: SocketAddress = ("", 0)
        self._peer = ""
        self._names: set[str] = set()
        self._queue: list[tuple[bytes, SocketAddress]] = []
        self._retry_at = 0.0

    def send(self, data: memoryview, destination: SocketAddress) -> None:
        """Send a datagram, or keep it until the association is there."""
        if self._way is not None:
            self._send(data, destination)
            return
        if self._control is None:
            now = self._outbound.context.reactor.now
            if now < self._retry_at:
                self._count("udp-stream-down")
                return
            self._retry_at = now + RETRY_S
            self._keep(data, destination)
            self._open()
        else:
            self._keep(data, destination)

    def close(self) -> None:
        """End the association, and let go of the sink."""
        self._sink = None
        self._queue.clear()
        control, self._control = self._control, None
        if control is not None:
            control.close()
        self._close_way()

    def deliver(self, data: memoryview, remote: SocketAddress) -> None:
        """A datagram for our port: the relay's, or somebody's who guessed it."""
        sink = self._sink
        if sink is None:
            return
        if remote[1] != self._relay[1] or remote[0] != (self._peer or remote[0]):
            self._count("socks5-udp-stranger")
            return
        try:
            host, port, start = parse_udp(data)
        except RemoteProtocolError as error:
            self._count(error.cause)
            return
        if data[_ADDRESS_TYPE_AT] == SOCKS_NAME and host not in self._names:
            self._count("socks5-udp-name")
            return
        self._peer = remote[0]
        sink.deliver(data[start:], socket_address(host, port))

    def on_ready(self) -> None:
        """The server gave us an association."""
        layer, control = self._layer, self._control
        if layer is None or control is None:
            return
        relay = self._outbound.relay_address(layer.bound, control)
        way = self._open_way() if relay[1] else None
        if way is None:
            control.close()
            self.on_end("socks5-no-relay")
            return
        self._relay = relay
        self._peer = relay[0] if is_literal(relay[0]) else ""
        self._way = way
        queue, self._queue = self._queue, []
        for data, destination in queue:
            self._send(data, destination)

    def on_payload(self, data: Buffer) -> None:
        """The control stream carries none."""

    def on_end(self, cause: str) -> None:
        """The association is over; the next datagram opens another."""
        self._control = None
        self._layer = None
        self._close_way()
        self._queue.clear()
        self._count(cause or "socks5-udp-ended")

    def _open(self) -> None:
        outbound = self._outbound
        try:
            route = outbound.server_route()
        except LocalProtocolError as error:
            self._count(error.cause)
            self._queue.clear()
            return
        self._layer = layer = outbound.associate()
        route.layers.append(layer)
        self._control = control = Stream(outbound.context, route, self)
        control.open()

    def _open_way(self) -> PacketLink | None:
        try:
            return self._outbound.underlay_udp(self)
        except OSError as error:
            self._count(cause_of(error.errno, "udp"))
        except LocalProtocolError as error:
            self._count(error.cause)
        return None

    def _close_way(self) -> None:
        way, self._way = self._way, None
        if way is not None:
            way.close()

    def _keep(self, data: memoryview, destination: SocketAddress) -> None:
        if len(self._queue) < QUEUE_DATAGRAMS:
            self._queue.append((bytes(data), destination))
        else:
            self._count("udp-queue-full")

    def _send(self, data: Buffer, destination: SocketAddress) -> None:
        way = self._way
        if way is None:
            return
        host = destination[0]
        try:
            wire = encode_udp(data, host, destination[1])
        except LocalProtocolError as error:
            self._count(error.cause)
            return
        if wire[_ADDRESS_TYPE_AT] == SOCKS_NAME and host not in self._names:
            if len(self._names) >= NAME_LIMIT:
                self._names.clear()
            self._names.add(host)
        way.send(memoryview(wire), self._relay)

    def _count(self, cause: str) -> None:
        self._outbound.context.tracker.count(cause)


def build(spec: Socks5Spec, env: OutboundEnv) -> Socks5:
    """The outbound of an entry."""
    return Socks5(env, spec, carrier_of(spec.tls))
