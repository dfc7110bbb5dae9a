"""TCP listeners: sockets that accept, and hand each client on.

Options that flows need are set on the listener, where accepted sockets inherit them.
"""

from __future__ import annotations

import errno
import logging
from select import EPOLLIN
from socket import (
    AF_INET6,
    IPPROTO_IPV6,
    IPPROTO_TCP,
    IPV6_V6ONLY,
    SO_MARK,
    SO_REUSEADDR,
    SO_REUSEPORT,
    SOCK_DGRAM,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOL_SOCKET,
    TCP_NODELAY,
    SocketType,
)
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.net.reactor import NEVER
from mihomo_tproxy.net.sockopt import (
    cause_of,
    reset_on_close,
    set_keepalive,
    set_transparent,
)

if TYPE_CHECKING:
    from mihomo_tproxy.config.specs.listener import AccessSpec, ListenerSpec
    from mihomo_tproxy.net.reactor import Reactor
    from mihomo_tproxy.net.relay import RelayContext
    from mihomo_tproxy.net.sockopt import SocketAddress
    from mihomo_tproxy.net.tracker import Tracker

log = logging.getLogger(__name__)

BACKLOG: Final = 4096
ACCEPT_BATCH: Final = 32
"""Connections accepted before flows get their turn."""
ACCEPT_PAUSE_S: Final = 0.1
"""How long to leave connections waiting when descriptors or memory ran out."""
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_WILDCARDS: Final = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


def open_tcp(
    family: int,
    host: str,
    port: int,
    *,
    transparent: bool = False,
    reuse_port: bool = False,
    mark: int = 0,
) -> SocketType:
    """A listening socket; port 0 picks a free one.

    Raises:
        OSError: the address is taken or not ours, or transparency or a mark is not permitted.
    """
    sock = SocketType(family, SOCK_STREAM | SOCK_NONBLOCK, 0)
    try:
        prepare(sock, family, transparent, reuse_port)
        sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        set_keepalive(sock)
        if mark:
            sock.setsockopt(SOL_SOCKET, SO_MARK, mark)
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def prepare(sock: SocketType, family: int, transparent: bool, reuse_port: bool) -> None:
    """What every socket needs before it is bound."""
    sock.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
    if reuse_port:
        sock.setsockopt(SOL_SOCKET, SO_REUSEPORT, 1)
    if family == AF_INET6:
        sock.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 1)
    if transparent:
        set_transparent(sock, family)


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


class Acceptor:
    """Accepts connections; what becomes of them is `take` of the subclass."""

    def __init__(self, reactor: Reactor, sock: SocketType, tracker: Tracker) -> None:
        """Take the socket over."""
        self.deadline = NEVER
        self._reactor = reactor
        self._sock = sock
        self._tracker = tracker
        self._family = sock.family

    def take(self, client: SocketType, source: SocketAddress) -> None:
        """Take a connection over; closes it, or leaves it open and raises."""
        raise NotImplementedError

    def configure(self, context: RelayContext, spec: ListenerSpec, access: AccessSpec) -> None:
        """Ask this of clients that come from now on; nothing, if there is nothing to ask."""

    def start(self) -> None:
        """Begin to accept."""
        self._reactor.watch(self._sock.fileno(), self, EPOLLIN)

    def close(self) -> None:
        """Stop listening; accepted flows live on."""
        if self._sock.fileno() >= 0:
            self._reactor.retire(self._sock)

    def on_event(self, fd: int, events: int) -> None:
        """Connections wait."""
        family, take = self._family, self.take
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
                take(client, source)
            except Exception:
                log.debug("an accepted flow failed", exc_info=True)
                if client.fileno() >= 0:
                    self.refuse(client, "internal-error")

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

    def refuse(self, client: SocketType, cause: str) -> None:
        """Reset a client, and count why."""
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
