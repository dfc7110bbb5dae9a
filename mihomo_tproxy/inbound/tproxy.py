"""The transparent inbound: sockets that receive what was addressed to others.

Packets get here by an sk_lookup program of ours or by a user's nftables `tproxy` rule. Either way
the original destination of a connection is its local address, and that of a datagram is in the
ancillary data (IP_RECVORIGDSTADDR, see ip(7); Linux, Documentation/networking/tproxy.rst).
"""

from __future__ import annotations

from select import EPOLLIN
from socket import (
    AF_INET6,
    IP_RECVTOS,
    IP_TOS,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPV6_RECVTCLASS,
    IPV6_TCLASS,
    SO_RCVBUF,
    SOCK_DGRAM,
    SOCK_NONBLOCK,
    SOL_SOCKET,
    SocketType,
    inet_ntop,
)
from sys import byteorder
from typing import TYPE_CHECKING, Any, Final, Protocol

from mihomo_tproxy.inbound.listener import Acceptor, LoopGuard, prepare
from mihomo_tproxy.net.reactor import NEVER
from mihomo_tproxy.net.sockopt import IP_RECVORIGDSTADDR, IPV6_RECVORIGDSTADDR, cause_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from mihomo_tproxy.net.reactor import Reactor
    from mihomo_tproxy.net.sockopt import SocketAddress
    from mihomo_tproxy.net.tracker import Tracker

DATAGRAM_BATCH: Final = 64
UDP_BUFFER_BYTES: Final = 4 << 20
_ANCILLARY_BYTES: Final = 128


class FlowSink(Protocol):
    """Where accepted flows go."""

    dscp: int
    """Of the datagram that is handed over, for whom wants it (`UdpListener.want_dscp`); else 0."""

    def handle_tcp(
        self, client: SocketType, source: SocketAddress, destination: SocketAddress
    ) -> None:
        """Take an accepted connection over."""

    def handle_udp(
        self, data: memoryview, source: SocketAddress, destination: SocketAddress
    ) -> None:
        """Take a datagram; `data` is valid during the call only."""


def open_udp(
    family: int, host: str, port: int, *, transparent: bool = True, reuse_port: bool = False
) -> SocketType:
    """A datagram socket that learns each datagram's original destination; port 0 picks a free one.

    Raises:
        OSError: the address is taken or not ours, or transparency is not permitted.
    """
    sock = SocketType(family, SOCK_DGRAM | SOCK_NONBLOCK, 0)
    try:
        prepare(sock, family, transparent, reuse_port)
        if family == AF_INET6:
            sock.setsockopt(IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, 1)
        else:
            sock.setsockopt(IPPROTO_IP, IP_RECVORIGDSTADDR, 1)
        sock.setsockopt(SOL_SOCKET, SO_RCVBUF, UDP_BUFFER_BYTES)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def original_destination(ancillary: list[tuple[int, int, Any]]) -> SocketAddress | None:
    """The destination a datagram was sent to, as the socket module writes addresses."""
    for level, kind, data in ancillary:
        if kind == IP_RECVORIGDSTADDR and level == IPPROTO_IP:
            return (
                f"{data[4]}.{data[5]}.{data[6]}.{data[7]}",
                data[2] << 8 | data[3],
            )
        if kind == IPV6_RECVORIGDSTADDR and level == IPPROTO_IPV6:
            return (
                inet_ntop(AF_INET6, data[8:24]),
                data[2] << 8 | data[3],
                0,
                int.from_bytes(data[24:28], "little"),
            )
    return None


def dscp_of(ancillary: list[tuple[int, int, Any]]) -> int:
    """The differentiated services code point of a datagram (RFC 2474), 0 if it was not told."""
    for level, kind, data in ancillary:
        of_v4 = kind == IP_TOS and level == IPPROTO_IP
        if (of_v4 and len(data) == 1) or (kind == IPV6_TCLASS and level == IPPROTO_IPV6):
            return int.from_bytes(data, byteorder) >> 2 & 63
    return 0


class TcpListener(Acceptor):
    """Accepts connections to anywhere and hands them to the tunnel."""

    def __init__(
        self,
        reactor: Reactor,
        sock: SocketType,
        sink: FlowSink,
        tracker: Tracker,
        destination_of: Callable[[SocketType], SocketAddress] = SocketType.getsockname,
    ) -> None:
        """Take the socket over. `destination_of` tells where an accepted client wanted to go."""
        super().__init__(reactor, sock, tracker)
        self._sink = sink
        self._destination_of = destination_of
        self._guard = LoopGuard(sock)

    def take(self, client: SocketType, source: SocketAddress) -> None:
        """Hand a client to the tunnel, unless it wanted to come here."""
        destination = self._destination_of(client)
        if destination[1] == self._guard.port and self._guard.is_loop(destination):
            self.refuse(client, "loop")
        else:
            self._sink.handle_tcp(client, source, destination)


class UdpListener:
    """Receives the datagrams that no connected socket of a flow takes."""

    def __init__(
        self,
        reactor: Reactor,
        sock: SocketType,
        sink: FlowSink,
        tracker: Tracker,
        destination_of: Callable[
            [list[tuple[int, int, Any]]], SocketAddress | None
        ] = original_destination,
    ) -> None:
        """Take the socket over. `destination_of` reads the destination from ancillary data."""
        self.deadline = NEVER
        self._reactor = reactor
        self._sock = sock
        self._sink = sink
        self._tracker = tracker
        self._destination_of = destination_of
        self._guard = LoopGuard(sock)
        self._buffers = [reactor.buffer]
        self._dscp_wanted = False

    def start(self) -> None:
        """Begin to receive."""
        self._reactor.watch(self._sock.fileno(), self, EPOLLIN)

    def want_dscp(self, wanted: bool) -> None:
        """Whether the sink is told each datagram's DSCP. Of TCP it is not known, as in mihomo."""
        if self._sock.family == AF_INET6:
            self._sock.setsockopt(IPPROTO_IPV6, IPV6_RECVTCLASS, wanted)
        else:
            self._sock.setsockopt(IPPROTO_IP, IP_RECVTOS, wanted)
        self._dscp_wanted = wanted
        self._sink.dscp = 0

    def close(self) -> None:
        """Stop receiving; associations live on."""
        if self._sock.fileno() >= 0:
            self._reactor.retire(self._sock)

    def on_event(self, fd: int, events: int) -> None:
        """Datagrams wait."""
        receive, view, guard = self._sock.recvmsg_into, self._reactor.view, self._guard
        for _ in range(DATAGRAM_BATCH):
            try:
                size, ancillary, _flags, source = receive(self._buffers, _ANCILLARY_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                self._tracker.count(cause_of(error.errno, "udp-receive"))
                return
            destination = self._destination_of(ancillary)
            if destination is None:
                self._tracker.count("udp-no-destination")
            elif destination[1] == guard.port and guard.is_loop(destination):
                self._tracker.count("loop")
            else:
                if self._dscp_wanted:
                    self._sink.dscp = dscp_of(ancillary)
                self._sink.handle_udp(view[:size], source, destination)

    def on_again(self) -> None:
        """Never asked for: readiness is level-triggered."""

    def expire(self, now: float) -> None:
        """Never due."""

    def abort(self, cause: str) -> None:
        """A listener survives; only the end of the reactor closes it."""
        if cause == "shutdown":
            self.close()
        else:
            self._tracker.count(cause)
