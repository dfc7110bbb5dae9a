"""DIRECT: straight to the destination, from a socket of this host.

`interface-name` (SO_BINDTODEVICE) and `routing-mark` (SO_MARK) are set when configured; see
socket(7). With an interface of its own the traffic may not be left to the kernel's routing, so
such an outbound gives no verdict away.
"""

from __future__ import annotations

from select import EPOLLIN
from socket import AF_INET, AF_INET6
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.model.enums import Network, Verdict
from mihomo_tproxy.net.reactor import NEVER
from mihomo_tproxy.net.relay import Flow
from mihomo_tproxy.net.sockopt import cause_of, is_literal, socket_address
from mihomo_tproxy.outbound.base import Leaf, Route
from mihomo_tproxy.outbound.opening import open_flow, turn_away

if TYPE_CHECKING:
    from socket import SocketType

    from mihomo_tproxy.model.metadata import Metadata
    from mihomo_tproxy.net.dial import Dialer
    from mihomo_tproxy.net.reactor import Reactor
    from mihomo_tproxy.net.relay import RelayContext
    from mihomo_tproxy.net.resolve import Resolved
    from mihomo_tproxy.net.sockopt import SocketAddress
    from mihomo_tproxy.outbound.base import Answer, PacketSink

TURN_DATAGRAMS: Final = 64
"""Datagrams taken from one socket before others get their turn."""
NAME_QUEUE: Final = 16
"""Datagrams of one client port that wait for addresses of names."""


class Direct(Leaf):
    """Dials destinations by itself."""

    def __init__(
        self,
        context: RelayContext,
        dialer: Dialer,
        name: str = "DIRECT",
        *,
        kernel: bool = False,
        udp: bool = True,
    ) -> None:
        """`kernel`: whether the kernel may forward later flows, by its routes and no options."""
        self.name = name
        self.verdict = Verdict.DIRECT if kernel and udp else Verdict.UNKNOWN
        self.dialer = dialer
        self.udp = udp
        self._context = context
        self._tracker = tracker = context.tracker
        self._traffic = tracker.traffic(name, Network.TCP)

    def open_tcp(
        self, client: SocketType, metadata: Metadata, answer: Answer | None = None
    ) -> None:
        """Dial, and relay once the destination answers."""
        host, port = metadata.destination, metadata.destination_port
        if answer is not None or not host:
            route = self.route(host or metadata.host, port)
            open_flow(self._context, client, route, self._traffic, answer)
            return
        tracker = self._tracker
        tracker.flow_opened(self._traffic)
        server = None
        try:
            server = self.dialer.connect((host, port, 0, 0) if ":" in host else (host, port))
            Flow(self._context, client, server, self._traffic)
        except OSError as error:
            if server is not None:
                server.close()
            turn_away(tracker, client, None, cause_of(error.errno, "dial"))
            tracker.flow_closed(self._traffic, "")

    def route(self, host: str, port: int) -> Route:
        """Straight to the destination, with nothing in between."""
        return Route(self.dialer, host, port, [])

    def open_udp(self, sink: PacketSink) -> DirectLink | None:
        """One unconnected socket per family: any remote may answer it (full cone)."""
        return DirectLink(self._context.reactor, self, sink) if self.udp else None

    def refuse_udp(self, client: SocketAddress, destination: SocketAddress, size: int) -> None:
        """`udp: false`: the datagram is lost, and counted."""
        self._tracker.count("udp-disabled")

    def count(self, cause: str) -> None:
        """One more failure of a link."""
        self._tracker.count(cause)


class DirectLink:
    """The sockets of one client port: the same source port towards every destination."""

    __slots__ = (
        "_outbound", "_reactor", "_round", "_sink", "_v4", "_v6", "_waiting", "deadline",
    )  # fmt: skip

    def __init__(self, reactor: Reactor, outbound: Direct, sink: PacketSink) -> None:
        self.deadline = NEVER  # the association decides how long it lives
        self._reactor = reactor
        self._outbound = outbound
        self._sink: PacketSink | None = sink
        self._v4: SocketType | None = None
        self._v6: SocketType | None = None
        self._round = 0
        self._waiting = 0

    def send(self, data: memoryview, destination: SocketAddress) -> None:
        """Send from the family's socket; what the kernel refuses is counted and lost."""
        if not is_literal(destination[0]):
            self._send_to_name(bytes(data), destination[0], destination[1])
            return
        sock = self._v4 if len(destination) == 2 else self._v6
        try:
            if sock is None:
                if self._sink is None:
                    self._outbound.count("udp-link-closed")
                    return
                sock = self._open(AF_INET if len(destination) == 2 else AF_INET6)
            sock.sendto(data, destination)
        except OSError as error:
            self._outbound.count(cause_of(error.errno, "udp-send"))

    def on_event(self, fd: int, events: int) -> None:
        """Replies arrived; a socket busy in two rounds in a row is read until it is empty."""
        reactor, sink = self._reactor, self._sink
        if sink is None:
            return
        sock = self._v4 if self._v4 is not None and self._v4.fileno() == fd else self._v6
        if sock is None:
            return
        reads = TURN_DATAGRAMS if reactor.round - self._round <= 1 else 1
        self._round = reactor.round
        view = reactor.view
        try:
            for _ in range(reads):
                size, remote = sock.recvfrom_into(reactor.buffer)
                sink.deliver(view[:size], remote)
                if self._sink is None:
                    return
        except BlockingIOError:
            pass
        except OSError as error:
            self._outbound.count(cause_of(error.errno, "udp-receive"))

    def on_again(self) -> None:
        """Never asked for: readiness is level-triggered."""

    def expire(self, now: float) -> None:
        """Never due."""

    def abort(self, cause: str) -> None:
        """Close; what the association still sends is lost, and counted."""
        self.close()

    def close(self) -> None:
        """Let go of the sockets and of the association."""
        self._sink = None
        for sock in (self._v4, self._v6):
            if sock is not None:
                self._reactor.retire(sock)
        self._v4 = self._v6 = None

    def _send_to_name(self, data: bytes, name: str, port: int) -> None:
        if self._waiting >= NAME_QUEUE:
            self._outbound.count("udp-name-queue-full")
            return

        def on_resolved(addresses: Resolved) -> None:
            self._waiting -= 1
            if self._sink is None:
                return
            if addresses:
                self.send(memoryview(data), socket_address(addresses[0], port))
            else:
                self._outbound.count("udp-name")

        self._waiting += 1
        self._outbound.dialer.resolve(name, on_resolved)

    def _open(self, family: int) -> SocketType:
        sock = self._outbound.dialer.packet_socket(family)
        try:
            self._reactor.watch(sock.fileno(), self, EPOLLIN)
        except OSError:
            sock.close()
            raise
        if family == AF_INET:
            self._v4 = sock
        else:
            self._v6 = sock
        return sock
