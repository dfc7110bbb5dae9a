"""The transparent inbound: sockets that receive what was addressed to others.

Packets get here by an sk_lookup program of ours or by a user's nftables `tproxy` rule. Either way
the original destination of a connection is its local address, and that of a datagram is in the
ancillary data (IP_RECVORIGDSTADDR, see ip(7); Linux, Documentation/networking/tproxy.rst).

Options that flows need are set on the listener, where accepted sockets inherit them.
"""

from __future__ import annotations

import errno
import logging
from select import EPOLLIN
from socket import (
    AF_INET6,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPPROTO_TCP,
    IPV6_V6ONLY,
    SO_RCVBUF,
    SO_REUSEADDR,
    SO_REUSEPORT,
    SOCK_DGRAM,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOL_SOCKET,
    TCP_NODELAY,
    SocketType,
    inet_ntop,
)
from typing import TYPE_CHECKING, Any, Final, Protocol

from mihomo_tproxy.net.reactor import NEVER
from mihomo_tproxy.net.sockopt import (
    IP_RECVORIGDSTADDR,
    IPV6_RECVORIGDSTADDR,
    cause_of,
    reset_on_close,
    set_keepalive,
    set_transparent,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from mihomo_tproxy.net.reactor import Reactor
    from mihomo_tproxy.net.sockopt import SocketAddress
    from mihomo_tproxy.net.tracker import Tracker

log = logging.getLogger(__name__)

BACKLOG: Final = 4096
ACCEPT_BATCH: Final = 32
"""Connections accepted before flows get their turn."""
DATAGRAM_BATCH: Final = 64
ACCEPT_PAUSE_S: Final = 0.1
"""How long to leave connections waiting when descriptors or memory ran out."""
UDP_BUFFER_BYTES: Final = 4 << 20
_ANCILLARY_BYTES: Final = 128
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_WILDCARDS: Final = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


class FlowSink(Protocol):
    """Where accepted flows go."""

    def handle_tcp(
        self, client: SocketType, source: SocketAddress, destination: SocketAddress
    ) -> None:
        """Take an accepted connection over."""

    def handle_udp(
        self, data: memoryview, source: SocketAddress, destination: SocketAddress
    ) -> None:
        """Take a datagram; `data` is valid during the call only."""


def open_tcp(
    family: int, host: str, port: int, *, transparent: bool = True, reuse_port: bool = False
) -> SocketType:
    """A listening socket; port 0 picks a free one.

    Raises:
        OSError: the address is taken or not ours, or transparency is not permitted.
    """
    sock = SocketType(family, SOCK_STREAM | SOCK_NONBLOCK, 0)
    try:
        _prepare(sock, family, transparent, reuse_port)
        sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        set_keepalive(sock)
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def open_udp(
    family: int, host: str, port: int, *, transparent: bool = True, reuse_port: bool = False
) -> SocketType:
    """A datagram socket that learns each datagram's original destination; port 0 picks a free one.

    Raises:
        OSError: the address is taken or not ours, or transparency is not permitted.
    """
    sock = SocketType(family, SOCK_DGRAM | SOCK_NONBLOCK, 0)
    try:
        _prepare(sock, family, transparent, reuse_port)
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


def _prepare(sock: SocketType, family: int, transparent: bool, reuse_port: bool) -> None:
    sock.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
    if reuse_port:
        sock.setsockopt(SOL_SOCKET, SO_REUSEPORT, 1)
    if family == AF_INET6:
        sock.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 1)
    if transparent:
        set_transparent(sock, family)


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


def is_local(host: str, family: int) -> bool:
    """Whether an address belongs to this host: only then can it be bound plainly."""
    probe = SocketType(family, SOCK_DGRAM | SOCK_NONBLOCK, 0)
    try:
        probe.bind((host, 0))
    except OSError:
        return False
    finally:
        probe.close()
    return True


class LoopGuard:
    """Recognises flows that were addressed to the listener itself, and would dial it again."""

    __slots__ = ("_family", "_host", "_wildcard", "port")

    def __init__(self, sock: SocketType) -> None:
        name = sock.getsockname()
        self._host: str = name[0]
        self._family = sock.family
        self._wildcard = self._host in _WILDCARDS
        self.port: int = name[1]

    def is_loop(self, destination: SocketAddress) -> bool:
        """Whether `destination`, whose port is the listener's, is the listener."""
        host = destination[0]
        return host == self._host or (self._wildcard and is_local(host, self._family))


class TcpListener:
    """Accepts connections and hands them to the tunnel."""

    def __init__(
        self,
        reactor: Reactor,
        sock: SocketType,
        sink: FlowSink,
        tracker: Tracker,
        destination_of: Callable[[SocketType], SocketAddress] = SocketType.getsockname,
    ) -> None:
        """Take the socket over. `destination_of` tells where an accepted client wanted to go."""
        self.deadline = NEVER
        self._reactor = reactor
        self._sock = sock
        self._sink = sink
        self._tracker = tracker
        self._destination_of = destination_of
        self._guard = LoopGuard(sock)
        self._family = sock.family

    def start(self) -> None:
        """Begin to accept."""
        self._reactor.watch(self._sock.fileno(), self, EPOLLIN)

    def close(self) -> None:
        """Stop listening; accepted flows live on."""
        if self._sock.fileno() >= 0:
            self._reactor.retire(self._sock)

    def on_event(self, fd: int, events: int) -> None:
        """Connections wait."""
        guard, sink, family = self._guard, self._sink, self._family
        # The C method under socket.accept(): spares a second socket object per connection.
        accept = self._sock._accept  # type: ignore[attr-defined]
        for _ in range(ACCEPT_BATCH):
            try:
                accepted, source = accept()
            except BlockingIOError:
                return
            except OSError as error:
                self._on_accept_failed(error)
                return
            # The descriptor itself still blocks: reads and writes say MSG_DONTWAIT.
            client = SocketType(family, SOCK_STREAM | SOCK_NONBLOCK, 0, accepted)
            try:
                destination = self._destination_of(client)
                if destination[1] == guard.port and guard.is_loop(destination):
                    self._refuse(client, "loop")
                    continue
                sink.handle_tcp(client, source, destination)
            except Exception:
                log.debug("an accepted flow failed", exc_info=True)
                if client.fileno() >= 0:
                    self._refuse(client, "internal-error")

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

    def _refuse(self, client: SocketType, cause: str) -> None:
        self._tracker.count(cause)
        reset_on_close(client)
        client.close()

    def _on_accept_failed(self, error: OSError) -> None:
        self._tracker.count(cause_of(error.errno, "accept"))
        if error.errno in _EXHAUSTED:
            # Level-triggered readiness would spin: leave the queue alone for a moment.
            self._reactor.forget(self._sock.fileno())
            self._reactor.later(ACCEPT_PAUSE_S, self._resume)

    def _resume(self) -> None:
        if self._sock.fileno() >= 0:
            self.start()


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

    def start(self) -> None:
        """Begin to receive."""
        self._reactor.watch(self._sock.fileno(), self, EPOLLIN)

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
