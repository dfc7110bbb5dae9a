"""DIRECT: straight to the destination, from a socket of this host.

`interface-name` (SO_BINDTODEVICE) and `routing-mark` (SO_MARK) are set when configured; see
socket(7). With an interface of its own the traffic may not be left to the kernel's routing, so
such an outbound gives no verdict away.
"""

from __future__ import annotations

import errno
from select import EPOLLIN
from socket import (
    AF_INET,
    AF_INET6,
    SO_BINDTODEVICE,
    SO_MARK,
    SOCK_DGRAM,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOL_SOCKET,
    SocketType,
)
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.model.enums import Network, Verdict
from mihomo_tproxy.net.reactor import NEVER
from mihomo_tproxy.net.relay import Flow
from mihomo_tproxy.net.sockopt import cause_of, reset_on_close

if TYPE_CHECKING:
    from mihomo_tproxy.model.metadata import Metadata
    from mihomo_tproxy.net.reactor import Reactor
    from mihomo_tproxy.net.relay import RelayContext
    from mihomo_tproxy.net.sockopt import SocketAddress
    from mihomo_tproxy.outbound.base import PacketSink

TURN_DATAGRAMS: Final = 64
"""Datagrams taken from one socket before others get their turn."""
_ONLY: Final = {"ipv4": AF_INET6, "ipv6": AF_INET}
"""`ip-version` -> the family it bars; the others only choose among a name's addresses."""
_STREAM: Final = SOCK_STREAM | SOCK_NONBLOCK
_DATAGRAM: Final = SOCK_DGRAM | SOCK_NONBLOCK


class Direct:
    """Dials destinations by itself."""

    def __init__(
        self,
        context: RelayContext,
        name: str = "DIRECT",
        interface_name: str = "",
        routing_mark: int = 0,
        *,
        kernel: bool = True,
        udp: bool = True,
        ip_version: str = "dual",
    ) -> None:
        """`kernel`: whether the kernel may forward later flows by itself, without these options."""
        self.name = name
        kernel = kernel and udp and not interface_name and ip_version not in _ONLY
        self.verdict = Verdict.DIRECT if kernel else Verdict.UNKNOWN
        self._udp = udp
        self._barred = _ONLY.get(ip_version, 0)
        self._context = context
        self._tracker = tracker = context.tracker
        self._traffic = tracker.traffic(name, Network.TCP)
        self._device = interface_name.encode() + b"\0" if interface_name else b""
        self._mark = routing_mark
        self._bound = bool(interface_name or routing_mark)

    def open_tcp(self, client: SocketType, metadata: Metadata, destination: SocketAddress) -> None:
        """Dial, and relay once the destination answers."""
        server = None
        tracker = self._tracker
        tracker.flow_opened(self._traffic)
        family = AF_INET if len(destination) == 2 else AF_INET6
        try:
            if family == self._barred:
                raise OSError(errno.ENETUNREACH, "barred by ip-version")
            server = SocketType(family, _STREAM, 0)
            if self._bound:
                self._bind(server)
            code = server.connect_ex(destination)
            if not code or code == errno.EINPROGRESS:
                Flow(self._context, client, server, self._traffic)
                return
        except OSError as error:
            code = error.errno or 0
        if server is not None:
            server.close()
        reset_on_close(client)
        client.close()
        tracker.flow_closed(self._traffic, cause_of(code, "dial"))

    def open_udp(self, sink: PacketSink) -> DirectLink | None:
        """One unconnected socket per family: any remote may answer it (full cone)."""
        return DirectLink(self._context.reactor, self, sink) if self._udp else None

    def refuse_udp(self, client: SocketAddress, destination: SocketAddress, size: int) -> None:
        """`udp: false`: the datagram is lost, and counted."""
        self._tracker.count("udp-disabled")

    def packet_socket(self, family: int) -> SocketType:
        """An unbound datagram socket with this outbound's interface and mark.

        Raises:
            OSError: no descriptor, the family is barred, or the interface does not exist.
        """
        if family == self._barred:
            raise OSError(errno.ENETUNREACH, "barred by ip-version")
        sock = SocketType(family, _DATAGRAM, 0)
        try:
            if self._bound:
                self._bind(sock)
        except OSError:
            sock.close()
            raise
        return sock

    def count(self, cause: str) -> None:
        """One more failure of a link."""
        self._tracker.count(cause)

    def _bind(self, sock: SocketType) -> None:
        if self._mark:
            sock.setsockopt(SOL_SOCKET, SO_MARK, self._mark)
        if self._device:
            sock.setsockopt(SOL_SOCKET, SO_BINDTODEVICE, self._device)


class DirectLink:
    """The sockets of one client port: the same source port towards every destination."""

    __slots__ = ("_outbound", "_reactor", "_round", "_sink", "_v4", "_v6", "deadline")

    def __init__(self, reactor: Reactor, outbound: Direct, sink: PacketSink) -> None:
        self.deadline = NEVER  # the association decides how long it lives
        self._reactor = reactor
        self._outbound = outbound
        self._sink: PacketSink | None = sink
        self._v4: SocketType | None = None
        self._v6: SocketType | None = None
        self._round = 0

    def send(self, data: memoryview, destination: SocketAddress) -> None:
        """Send from the family's socket; what the kernel refuses is counted and lost."""
        sock = self._v4 if len(destination) == 2 else self._v6
        try:
            if sock is None:
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
        """Close; the association notices at its next datagram."""
        self.close()

    def close(self) -> None:
        """Let go of the sockets and of the association."""
        self._sink = None
        for sock in (self._v4, self._v6):
            if sock is not None:
                self._reactor.retire(sock)
        self._v4 = self._v6 = None

    def _open(self, family: int) -> SocketType:
        sock = self._outbound.packet_socket(family)
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
