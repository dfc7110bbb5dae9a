"""The TCP relay: two sockets, two lanes, no task, no buffer of its own while it is idle.

A flow starts when its client is accepted and the dial to the server has been started. Both sockets
are registered edge-triggered once (epoll(7)); a lane reads until the kernel has no more, or until
the other side accepts no more.

    client --- up lane ---> server      recv/send through the reactor's shared buffer first;
    client <-- down lane -- server      bulky lanes splice(2) through a pooled pipe

Invariants:
- A lane holds at most one read of unsent bytes, or one pipe: back-pressure is not reading.
- End of stream passes on as shutdown once everything before it is sent; RST passes on as RST.
- Every state has a timeout: connecting, open and idle, half closed.
- No reference cycles: lanes know sockets, the flow knows its lanes, nobody knows the flow but the
  reactor's table.
"""

from __future__ import annotations

from select import EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP
from socket import IPPROTO_TCP, SHUT_WR, SO_ERROR, SOL_SOCKET, TCP_NODELAY, SocketType
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.net.lane import BLOCKED, FINISHED, MORE, Lane
from mihomo_tproxy.net.sockopt import cause_of, reset_on_close, set_keepalive

if TYPE_CHECKING:
    from mihomo_tproxy.net.pipes import PipePool
    from mihomo_tproxy.net.reactor import Reactor
    from mihomo_tproxy.net.tracker import Tracker, Traffic

CLIENT_EVENTS: Final = EPOLLIN | EPOLLRDHUP | EPOLLET
"""Without EPOLLOUT, which would wake every flow once for nothing; added when a client is slow."""
SERVER_EVENTS: Final = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET
READABLE: Final = EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR

# The states of a flow; a kind of flow may have more of its own.
DIALLING: Final = 0
OPEN: Final = 1
CLOSED: Final = 2


class Timeouts:
    """Seconds until a flow in that state is given up."""

    __slots__ = ("connect", "half_closed", "handshake", "idle")

    def __init__(
        self,
        connect: float = 5.0,
        idle: float = 7440.0,
        half_closed: float = 240.0,
        handshake: float = 8.0,
    ) -> None:
        self.connect = connect
        self.handshake = handshake
        """From the dialled socket to the first payload, all layers together."""
        self.idle = idle
        """RFC 5382, REQ-5: not less than 2 hours 4 minutes."""
        self.half_closed = half_closed
        """RFC 5382, REQ-5: not less than 4 minutes."""


class RelayContext:
    """What all flows of a worker share."""

    __slots__ = ("pipes", "reactor", "timeouts", "tracker")

    def __init__(
        self, reactor: Reactor, pipes: PipePool, tracker: Tracker, timeouts: Timeouts
    ) -> None:
        self.reactor = reactor
        self.pipes = pipes
        self.tracker = tracker
        self.timeouts = timeouts


class Flow:
    """One proxied TCP connection, from the started dial to the last close."""

    __slots__ = (
        "__weakref__",
        "_client",
        "_client_fd",
        "_client_room",
        "_context",
        "_down",
        "_keepalive",
        "_nodelay",
        "_queued",
        "_server",
        "_state",
        "_traffic",
        "_up",
        "active",
        "deadline",
    )

    def __init__(
        self, context: RelayContext, client: SocketType, server: SocketType, traffic: Traffic
    ) -> None:
        """Take both sockets over; `server` is connecting, `client` is not watched yet.

        Raises:
            OSError: the server socket cannot be watched; both sockets stay the caller's.
        """
        self._context = context
        self._traffic = traffic
        self._client = client
        self._server = server
        self._client_fd = client.fileno()
        self._up = Lane(client, server)
        self._down = Lane(server, client)
        self._state = DIALLING
        self._client_room = False
        self._keepalive = False
        self._nodelay = False
        self._queued = False
        self.active = now = context.reactor.now
        self.deadline = now + context.timeouts.connect
        context.reactor.watch(server.fileno(), self, SERVER_EVENTS)

    def on_event(self, fd: int, events: int) -> None:
        """Something happened on one of the two sockets."""
        self.active = self._context.reactor.now
        if self._state == DIALLING and not self._on_dialled(events):
            return
        if fd == self._client_fd:
            incoming, outgoing = self._up, self._down
        else:
            incoming, outgoing = self._down, self._up
        if (
            events & EPOLLOUT
            and (outgoing.backlog is not None or outgoing.pipe is not None)
            and not self._attend(outgoing)
        ):
            return
        if incoming.eof or not events & READABLE:
            if events & EPOLLERR:
                self._fail(incoming.src)
            return
        if events & EPOLLERR:
            incoming.failed = True
        elif events & EPOLLRDHUP:
            incoming.ended = True
        self._attend(incoming)

    def on_again(self) -> None:
        """Continue the lanes whose last turn was cut short."""
        self._queued = False
        for lane in (self._up, self._down):
            if self._state == OPEN and lane.more:
                self._run(lane)

    def expire(self, now: float) -> None:
        """Close what was silent for too long; give an ageing flow its keepalive."""
        timeouts = self._context.timeouts
        if self._state == DIALLING:
            self.abort("dial-timeout")
            return
        half = self._up.eof or self._down.eof
        due = self.active + (timeouts.half_closed if half else timeouts.idle)
        if due <= now:
            self.abort("half-closed-timeout" if half else "idle-timeout")
            return
        if not self._keepalive:
            self._keepalive = True
            set_keepalive(self._server)
        self.deadline = due

    def abort(self, cause: str) -> None:
        """End the flow at once, with RST to both sides."""
        if self._state != CLOSED:
            reset_on_close(self._client)
            reset_on_close(self._server)
            self._close(cause)

    def _has_dialled(self, events: int) -> bool:
        """Whether the dial ended well; a flow whose dial failed is closed."""
        if events & (EPOLLERR | EPOLLHUP):
            code = self._server.getsockopt(SOL_SOCKET, SO_ERROR)
            self.abort(cause_of(code, "dial"))
            return False
        return bool(events & EPOLLOUT)

    def _on_dialled(self, events: int) -> bool:
        """The dial ended; whether it succeeded."""
        if not self._has_dialled(events):
            return False
        self._state = OPEN
        self._context.reactor.watch(self._client_fd, self, CLIENT_EVENTS)
        return self._run(self._up)  # the client's first bytes are here already, as a rule

    def _fail(self, sock: SocketType) -> bool:
        """Abort if a socket has an error pending; whether the flow is still open."""
        code = sock.getsockopt(SOL_SOCKET, SO_ERROR)
        if code:
            self.abort(cause_of(code, "relay"))
        return not code

    def _attend(self, lane: Lane) -> bool:
        """Run a lane now, or a bulky one after everybody's small business."""
        if lane.bulk < 2:
            return self._run(lane)
        lane.more = True
        self._queue()
        return True

    def _queue(self) -> None:
        if not self._queued:
            self._queued = True
            self._context.reactor.again(self)

    def _run(self, lane: Lane) -> bool:
        """Give a lane its turn; whether the flow is still open afterwards."""
        before = lane.total
        up = lane is self._up
        if up and before and not self._nodelay and not lane.ended:
            # Nagle's algorithm never delays a first write: one-request flows save the call.
            self._nodelay = True
            self._server.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        try:
            state = lane.turn(self._context)
        except OSError as error:
            self.abort(cause_of(error.errno, "relay"))
            return False
        if up:
            self._traffic.up += lane.total - before
        else:
            self._traffic.down += lane.total - before
        lane.more = state == MORE
        if state == FINISHED:
            return self._finish(lane)
        if state == MORE:
            self._queue()
        elif lane.failed:
            return self._fail(lane.src)
        elif state == BLOCKED and not up and not self._client_room:
            self._client_room = True
            self._context.reactor.rewatch(self._client_fd, CLIENT_EVENTS | EPOLLOUT)
        return True

    def _finish(self, lane: Lane) -> bool:
        """All of a lane is delivered: pass the end on; whether the flow is still open."""
        lane.done = True
        if self._up.done and self._down.done:
            self._close("")
            return False
        try:
            lane.dst.shutdown(SHUT_WR)
        except OSError as error:
            self.abort(cause_of(error.errno, "relay"))
            return False
        self.deadline = self.active + self._context.timeouts.half_closed
        return True

    def _close(self, cause: str) -> None:
        context = self._context
        if cause and self._state != OPEN:
            self._traffic.failed += 1
        self._state = CLOSED
        self._up.release(context)
        self._down.release(context)
        context.reactor.retire(self._client)
        context.reactor.retire(self._server)
        context.tracker.flow_closed(self._traffic, cause)
