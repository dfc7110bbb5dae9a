"""A connection of our own through a route: layers, but no client socket.

What carries datagrams over TCP and what keeps a SOCKS5 association alive run on it.

Invariants: what waits to be sent is capped; a handshake ends within its timeout; after `on_end` the
owner hears nothing more, and `close` by the owner is silent.
"""

from __future__ import annotations

from select import EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP
from socket import IPPROTO_TCP, MSG_DONTWAIT, SO_ERROR, SOL_SOCKET, TCP_NODELAY
from typing import TYPE_CHECKING, Final, Protocol

from mihomo_tproxy.errors import ProtocolError
from mihomo_tproxy.net.reactor import NEVER
from mihomo_tproxy.net.sockopt import cause_of, set_keepalive
from mihomo_tproxy.transport.stack import Stack

if TYPE_CHECKING:
    from socket import SocketType

    from mihomo_tproxy.codec.layer import Buffer
    from mihomo_tproxy.net.relay import RelayContext
    from mihomo_tproxy.net.sockopt import SocketAddress
    from mihomo_tproxy.outbound.base import Route

BACKLOG_BYTES: Final = 256 * 1024
TURN_READS: Final = 8
_EVENTS: Final = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET
_READABLE: Final = EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR


class StreamOwner(Protocol):
    """Who a stream is for."""

    def on_ready(self) -> None:
        """Payload may be sent."""

    def on_payload(self, data: Buffer) -> None:
        """Payload arrived; `data` is valid during the call only. May raise ProtocolError."""

    def on_end(self, cause: str) -> None:
        """The stream is over: why, as the counters name it; "" when the server ended it."""


class Stream:
    """One connection with its layers."""

    __slots__ = (
        "_backlog",
        "_context",
        "_dialled",
        "_owner",
        "_route",
        "_sock",
        "_stack",
        "deadline",
        "ready",
    )

    def __init__(self, context: RelayContext, route: Route, owner: StreamOwner) -> None:
        self._context = context
        self._route = route
        self._owner: StreamOwner | None = owner
        self._stack = Stack(route.layers)
        self._sock: SocketType | None = None
        self._backlog = bytearray()
        self._dialled = False
        self.ready = False
        """The layers have shaken hands."""
        self.deadline = NEVER

    @property
    def peer(self) -> SocketAddress:
        """The address that was dialled, once `ready`; ("", 0) when it is gone."""
        try:
            return self._sock.getpeername() if self._sock is not None else ("", 0)
        except OSError:
            return ("", 0)

    def open(self) -> None:
        """Dial. The owner hears the rest, perhaps before this returns."""
        self._route.dialer.dial(self._route.host, self._route.port, self._on_socket)

    @property
    def has_room(self) -> bool:
        """Whether the server takes more; what is sent all the same is kept, up to a limit."""
        return not self._stack.blocked and len(self._backlog) <= BACKLOG_BYTES

    def send(self, payload: Buffer) -> None:
        """Seal and send. Only once `ready`.

        A failure is told to the owner, not raised.
        """
        try:
            self._push(self._stack.seal(payload))
        except ProtocolError as error:
            self._end(error.cause)
        except OSError as error:
            self._end(cause_of(error.errno, "stream"))

    def close(self) -> None:
        """Let go of the socket; the owner hears nothing."""
        self._owner = None
        if self._sock is not None:
            self._context.reactor.retire(self._sock)
            self._sock = None

    def on_event(self, fd: int, events: int) -> None:
        """The server's socket is ready."""
        try:
            self._attend(events)
        except ProtocolError as error:
            self._end(error.cause)
        except OSError as error:
            self._end(cause_of(error.errno, "stream"))

    def on_again(self) -> None:
        """Continue a read that was cut short."""
        if self._sock is not None:
            self.on_event(-1, EPOLLIN)

    def expire(self, now: float) -> None:
        """The server did not answer in time."""
        self._end("handshake-timeout" if self._dialled else "dial-timeout")

    def abort(self, cause: str) -> None:
        """Give up."""
        self._end(cause)

    def _on_socket(self, sock: SocketType | None, cause: str) -> None:
        if sock is not None and self._owner is None:
            sock.close()
        elif sock is None:
            self._end(cause)
        else:
            self._sock = sock
            reactor = self._context.reactor
            self.deadline = reactor.now + self._context.timeouts.connect
            try:
                sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
                set_keepalive(sock)
                reactor.watch(sock.fileno(), self, _EVENTS)
            except OSError as error:
                self._end(cause_of(error.errno, "dial"))

    def _attend(self, events: int) -> None:
        sock = self._sock
        if sock is None:
            return
        if not self._dialled:
            if events & (EPOLLERR | EPOLLHUP):
                self._end(cause_of(sock.getsockopt(SOL_SOCKET, SO_ERROR), "dial"))
                return
            if not events & EPOLLOUT:
                return
            self._dialled = True
            self.deadline = self._context.reactor.now + self._context.timeouts.handshake
            self._stack.begin()
            self._advance()
        if events & EPOLLOUT:
            self._flush()
        if events & _READABLE:
            self._read()

    def _read(self) -> None:
        reactor = self._context.reactor
        for _ in range(TURN_READS):
            sock = self._sock
            if sock is None:
                return
            try:
                got = sock.recv_into(reactor.buffer, 0, MSG_DONTWAIT)
            except BlockingIOError:
                return
            if not got:
                self._stack.feed_eof()
                self._end("" if self.ready else "handshake-closed")
                return
            payload = self._stack.feed(reactor.view[:got])
            self._advance()
            if payload and self._owner is not None:
                self._owner.on_payload(payload)
            if self._stack.ended:
                self._end("")
                return
        reactor.again(self)

    def _advance(self) -> None:
        """Say what the layers want said; tell the owner when they are ready."""
        stack = self._stack
        if stack.output:
            wire, stack.output = stack.output, b""
            self._push(wire)
        if stack.ready and not self.ready and self._owner is not None:
            self.ready = True
            self.deadline = NEVER
            self._owner.on_ready()

    def _push(self, wire: Buffer) -> None:
        if self._sock is None or not wire:
            return
        if self._backlog:
            if len(self._backlog) > 2 * BACKLOG_BYTES:
                raise ProtocolError("control-flood")
            self._backlog += wire
            return
        try:
            sent = self._sock.send(wire, MSG_DONTWAIT)
        except BlockingIOError:
            sent = 0
        if sent < len(wire):
            self._backlog += memoryview(wire)[sent:]

    def _flush(self) -> None:
        if self._backlog and self._sock is not None:
            try:
                sent = self._sock.send(self._backlog, MSG_DONTWAIT)
            except BlockingIOError:
                return
            del self._backlog[:sent]

    def _end(self, cause: str) -> None:
        owner = self._owner
        self.close()
        if owner is not None:
            owner.on_end(cause)
