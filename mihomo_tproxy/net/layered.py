"""A TCP flow through protocol layers: a handshake after the dial, then sealed lanes.

The handshake runs while the client is not watched: what it sends meanwhile waits in its socket, and
leaves together with the last of the handshake. Once every layer is transparent (HTTP and SOCKS
after their handshakes) the lanes become plain ones, which splice.

Invariants, besides those of `relay`:
- A client whose protocol can be told (`Answer`) is told once: that the way is open before the
  first payload, or why it is not instead of a RST.
- A server that has ended its side may reset us for what we still say (the answer to a close frame):
  that takes nothing from what the client is still to get.
"""

from __future__ import annotations

from select import EPOLLERR, EPOLLHUP, EPOLLRDHUP
from socket import MSG_DONTWAIT, SHUT_WR
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.errors import ProtocolError
from mihomo_tproxy.net.lane import Lane
from mihomo_tproxy.net.reactor import BUFFER_BYTES
from mihomo_tproxy.net.relay import CLIENT_EVENTS, CLOSED, OPEN, READABLE, Flow
from mihomo_tproxy.net.sealing import OpenLane, SealLane
from mihomo_tproxy.net.sockopt import cause_of

if TYPE_CHECKING:
    from socket import SocketType

    from mihomo_tproxy.codec.layer import Buffer
    from mihomo_tproxy.net.relay import RelayContext
    from mihomo_tproxy.net.tracker import Traffic
    from mihomo_tproxy.outbound.base import Answer
    from mihomo_tproxy.transport.stack import Stack

LINGER_S: Final = 10.0
"""How long the server's silence has to last after the client's end before it is told, where being
told would end its own side too."""
_SHAKING: Final = 3
_FAILED: Final = EPOLLHUP | EPOLLERR


class LayeredFlow(Flow):
    """One TCP connection through an outbound's layers."""

    __slots__ = ("_answer", "_plain", "_stack")

    def __init__(
        self,
        context: RelayContext,
        client: SocketType,
        server: SocketType,
        traffic: Traffic,
        stack: Stack,
        answer: Answer | None = None,
    ) -> None:
        """Take both sockets over; `server` is connecting or connected, `client` not watched yet.

        Raises:
            OSError: the server socket cannot be watched; both sockets stay the caller's.
        """
        super().__init__(context, client, server, traffic)
        self._stack = stack
        self._answer = answer
        self._plain = False
        self._up: Lane = SealLane(client, server, stack)
        self._down: Lane = OpenLane(server, client, stack, self._up)

    def on_event(self, fd: int, events: int) -> None:
        """Something happened on one of the two sockets."""
        if self._state != _SHAKING:
            self._clear_way()
            super().on_event(fd, events)
            return
        self.active = self._context.reactor.now
        self._guarded_shake(events)

    def on_again(self) -> None:
        """Continue the lanes whose last turn was cut short."""
        self._clear_way()
        super().on_again()

    def expire(self, now: float) -> None:
        """Give up a handshake that takes too long; else as any flow."""
        if self._state == _SHAKING:
            self.abort("handshake-timeout")
        elif self._lingers():
            self.deadline = self.active + LINGER_S
            if self.deadline <= now:
                self._part()
        else:
            super().expire(now)

    def abort(self, cause: str) -> None:
        """End the flow at once: with words the client understands if it still waits for them."""
        answer = self._answer
        if answer is None or self._state == CLOSED:
            super().abort(cause)
            return
        self._answer = None
        refuse(self._client, answer, cause)
        self._close(cause)

    def _on_dialled(self, events: int) -> bool:
        """The dial ended: begin the handshake. There is nothing left to do for the caller."""
        if not self._has_dialled(events):
            return False
        self._state = _SHAKING
        self.deadline = self.active + self._context.timeouts.handshake
        self._guarded_shake(events, begin=True)
        return False

    def _guarded_shake(self, events: int, *, begin: bool = False) -> None:
        if events & EPOLLRDHUP:
            self._down.ended = True  # an edge, which does not come again
        try:
            if begin:
                self._stack.begin()
            self._shake(events)
        except ProtocolError as error:
            self.abort(error.cause)
        except OSError as error:
            self.abort(cause_of(error.errno, "handshake"))

    def _shake(self, events: int) -> None:
        """Take the handshake as far as it goes; the down lane takes over when it is done."""
        stack, up = self._stack, self._up
        assert isinstance(up, SealLane)  # noqa: S101 - plain lanes come after the handshake
        up.flush(self._context)
        if stack.output and not stack.ready:
            self._say()
        if events & READABLE:
            reactor = self._context.reactor
            while not stack.ready:
                try:
                    got = self._server.recv_into(reactor.buffer, 0, MSG_DONTWAIT)
                except BlockingIOError:
                    return
                if not got:
                    raise ProtocolError("handshake-closed")
                payload = stack.feed(reactor.view[:got])
                if stack.ready:
                    self._establish(payload, events, unread=got == BUFFER_BYTES)
                    return
                if stack.output:
                    self._say()
        if stack.ready:
            self._establish(b"", events, unread=bool(events & READABLE))

    def _say(self) -> None:
        wire, self._stack.output = self._stack.output, b""
        self._up.push(wire)  # type: ignore[attr-defined] # a SealLane during the handshake

    def _establish(self, payload: Buffer, events: int, *, unread: bool) -> None:
        """The way is open: the client hears it, and its first bytes leave.

        `events` may tell of a failure that has been reported for the last time, and what is
        `unread` in the server's socket will not be reported again either.
        """
        context, stack = self._context, self._stack
        up, down = self._up, self._down
        assert isinstance(up, SealLane)  # noqa: S101 - as above
        assert isinstance(down, OpenLane)  # noqa: S101 - as above
        self._state = OPEN
        answer, self._answer = self._answer, None
        words = answer.accepted() if answer is not None else b""
        if words:
            payload = words + bytes(payload)
        if payload:
            down.deliver(payload)
            down.total -= len(words)  # they are no payload
        first = self._first_payload(answer.early if answer is not None else b"")
        wire = stack.seal(first)
        if stack.output:
            wire = stack.output + bytes(wire)
            stack.output = b""
        if wire:
            up.push(wire)
        up.total += len(first)
        self._traffic.up += len(first)
        self._traffic.down += down.total
        if stack.transparent:
            self._become_plain()
        context.reactor.watch(self._client_fd, self, CLIENT_EVENTS)
        if unread or stack.ended or down.ended or down.backlog is not None or events & _FAILED:
            self._down.failed = bool(events & EPOLLERR)
            self._run(self._down)

    def _first_payload(self, early: bytes) -> Buffer:
        if early or self._stack.blocked:
            return early
        reactor = self._context.reactor
        try:
            got = self._client.recv_into(reactor.buffer, 0, MSG_DONTWAIT)
        except BlockingIOError:
            return b""
        return reactor.view[:got]  # the lane finds the end of stream again

    def _run(self, lane: Lane) -> bool:
        """Give a lane its turn; whether the flow is still open afterwards."""
        if self._plain:
            return super()._run(lane)
        stack = self._stack
        stalled = stack.blocked
        try:
            if not super()._run(lane):
                return False
        except ProtocolError as error:
            self.abort(error.cause)
            return False
        if stalled and not stack.blocked and not self._up.done:
            return self._run(self._up)
        return True

    def _clear_way(self) -> None:
        """Without layers from now on, if they are done; within a turn the lanes are in use."""
        if not self._plain and self._stack.transparent and self._state == OPEN:
            self._become_plain()

    def _become_plain(self) -> None:
        """Nothing is changed any more: the same lanes without layers."""
        self._plain = True
        if self._up.backlog is not None:
            self._traffic.up -= len(self._up.backlog)  # a plain lane counts what it has sent
        self._up, self._down = _plain(self._up), _plain(self._down)
        for lane in (self._up, self._down):
            if lane.more:
                self._queue()

    def _finish(self, lane: Lane) -> bool:
        """All of a lane is delivered: pass the end on; whether the flow is still open."""
        stack = self._stack
        tells = stack.ends_below and not stack.ends_both
        if self._plain or lane is not self._up or (tells and not self._down.eof):
            return super()._finish(lane)
        lane.done = True
        if self._down.done:
            self._close("")
            return False
        if tells:
            self._hang_up()
        timeouts = self._context.timeouts
        self.deadline = self.active + (LINGER_S if self._lingers() else timeouts.half_closed)
        return True

    def _fail(self, sock: SocketType) -> bool:
        """Abort if a socket has an error pending; whether the flow is still open."""
        if self._plain or sock is not self._server or not self._down.eof:
            return super()._fail(sock)
        self._up.eof = self._up.done = True
        if self._down.done:
            self._close("")
        return self._state == OPEN

    def _lingers(self) -> bool:
        """Whether the client has ended, and the server has not been told."""
        if self._state != OPEN or self._plain or not self._stack.ends_both:
            return False
        return self._up.done and not self._down.eof

    def _part(self) -> None:
        """Nothing more came: tell the server, and end the flow."""
        try:
            self._up.push(self._stack.finish())  # type: ignore[attr-defined] # it is a SealLane
        except (ProtocolError, OSError):
            pass  # it has gone already
        self._hang_up()
        self._close("")

    def _hang_up(self) -> None:
        try:
            self._server.shutdown(SHUT_WR)
        except OSError:
            pass  # it has gone already


def refuse(client: SocketType, answer: Answer, cause: str) -> None:
    """Tell a client why its flow does not come about, and end our side of its connection."""
    try:
        client.send(answer.refused(cause), MSG_DONTWAIT)
        client.shutdown(SHUT_WR)
    except OSError:
        pass  # it does not listen any more


def _plain(lane: Lane) -> Lane:
    plain = Lane(lane.src, lane.dst)
    for name in ("backlog", "ended", "failed", "eof", "done", "more", "total"):
        setattr(plain, name, getattr(lane, name))
    return plain
