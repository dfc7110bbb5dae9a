"""The two lanes of a flow through layers: what the client says is sealed, what comes is opened.

    client --- SealLane: recv, seal, send ---> server
    client <-- OpenLane: recv, feed, send ---- server, and what the layers say by themselves

Invariants, besides those of `lane`:
- A peer that talks without end while it accepts nothing is given up (CONTROL_BYTES).
- A server that ends without a word is counted, and its end passed on.
- Once the server has ended its side, what it does not accept any more is dropped.
"""

from __future__ import annotations

from socket import MSG_DONTWAIT, MSG_MORE
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.errors import NoAnswer, ProtocolError
from mihomo_tproxy.net.lane import BLOCKED, DRAINED, FINISHED, MORE, TURN_READS, Lane
from mihomo_tproxy.net.reactor import BUFFER_BYTES

if TYPE_CHECKING:
    from socket import SocketType

    from mihomo_tproxy.codec.layer import Buffer
    from mihomo_tproxy.net.relay import RelayContext
    from mihomo_tproxy.transport.stack import Stack

CONTROL_BYTES: Final = 256 * 1024
"""What layers may say by themselves beyond what the server accepts."""


class SealLane(Lane):
    """Client to server: payload is sealed."""

    __slots__ = ("late", "stack")

    def __init__(self, src: SocketType, dst: SocketType, stack: Stack) -> None:
        super().__init__(src, dst)
        self.stack = stack
        self.late = False
        """The server has ended its side: whether it still listens does not matter."""

    def flush(self, context: RelayContext) -> bool:
        """Whether everything sealed so far has been sent."""
        backlog = self.backlog
        if backlog is not None:
            try:
                sent = self.dst.send(backlog, MSG_DONTWAIT)
            except BlockingIOError:
                return False
            except ConnectionError:
                if not self.late:
                    raise
                sent = len(backlog)
            if sent < len(backlog):
                self.backlog = backlog[sent:]
                return False
            self.backlog = None
        return True

    def push(self, wire: Buffer, flags: int = 0) -> None:
        """Send sealed bytes now, or as soon as the server accepts them.

        MSG_MORE: a FIN follows at once, and leaves in the same segment (send(2)).

        Raises:
            OSError: the server's socket failed.
            ProtocolError: too much is waiting already.
        """
        if self.backlog is not None:
            if len(self.backlog) > CONTROL_BYTES:
                raise ProtocolError("control-flood")
            self.backlog = memoryview(bytes(self.backlog) + bytes(wire))
            return
        try:
            sent = self.dst.send(wire, MSG_DONTWAIT | flags)
        except BlockingIOError:
            sent = 0
        except ConnectionError:
            if not self.late:
                raise
            sent = len(wire)
        if sent < len(wire):  # a copy: what a transparent layer returns is the shared buffer
            self.backlog = memoryview(bytes(memoryview(wire)[sent:]))

    def _copy(self, context: RelayContext) -> int:
        reactor, stack = context.reactor, self.stack
        for _ in range(TURN_READS):
            if stack.blocked:
                return DRAINED  # the flow comes back when a feed has unblocked it
            try:
                got = self.src.recv_into(reactor.buffer, 0, MSG_DONTWAIT)
            except BlockingIOError:
                return DRAINED
            if got:
                self.push(stack.seal(reactor.view[:got]))
                self.total += got
            self.eof = not got or (self.ended and got < BUFFER_BYTES)
            if self.eof and not stack.ends_both:
                last = stack.finish()
                if last:
                    self.push(last, MSG_MORE if stack.ends_below else 0)
            if self.backlog is not None:
                return BLOCKED
            if self.eof:
                return FINISHED
            if got < BUFFER_BYTES:
                return DRAINED
        return MORE


class OpenLane(Lane):
    """Server to client: wire bytes are opened."""

    __slots__ = ("stack", "up")

    def __init__(self, src: SocketType, dst: SocketType, stack: Stack, up: SealLane) -> None:
        super().__init__(src, dst)
        self.stack = stack
        self.up = up

    def _copy(self, context: RelayContext) -> int:
        reactor, stack = context.reactor, self.stack
        if stack.ended:  # during the handshake
            self.eof = self.up.late = True
            return FINISHED
        for _ in range(TURN_READS):
            try:
                got = self.src.recv_into(reactor.buffer, 0, MSG_DONTWAIT)
            except BlockingIOError:
                return DRAINED
            payload: Buffer = b""
            closed = not got or (self.ended and got < BUFFER_BYTES)
            try:
                if got:
                    payload = stack.feed(reactor.view[:got])
                if closed and not stack.ended:
                    stack.feed_eof()
            except NoAnswer as error:
                context.tracker.count(error.cause)
                closed = True
            self.eof = self.up.late = closed or stack.ended
            if payload:
                self.deliver(payload)
            if stack.output:
                wire, stack.output = stack.output, b""
                if not (self.up.done and stack.ends_below):  # else nobody listens any more
                    self.up.push(wire)
            if self.backlog is not None:
                return BLOCKED
            if self.eof:
                return FINISHED
            if got < BUFFER_BYTES:
                return DRAINED
            if stack.transparent:
                break
        return MORE

    def deliver(self, payload: Buffer) -> None:
        """Send payload to the client; what it does not take becomes the backlog.

        Raises:
            OSError: the client's socket failed.
        """
        try:
            sent = self.dst.send(payload, MSG_DONTWAIT)
        except BlockingIOError:
            sent = 0
        self.total += sent
        if sent < len(payload):
            self.backlog = memoryview(bytes(memoryview(payload)[sent:]))
