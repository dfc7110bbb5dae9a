"""One direction of a relayed TCP flow: recv/send at first, splice(2) once it proves bulky.

A lane reads until the kernel has no more (then the edge-triggered epoll will tell), until the
other side accepts no more, or until its turn is over. It keeps at most one read of undelivered
bytes, or one pipe: back-pressure is not reading.
"""

from __future__ import annotations

from os import SPLICE_F_MOVE, SPLICE_F_NONBLOCK, splice
from socket import MSG_DONTWAIT
from time import monotonic
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.net.reactor import BUFFER_BYTES

if TYPE_CHECKING:
    from socket import SocketType

    from mihomo_tproxy.net.pipes import Pipe
    from mihomo_tproxy.net.relay import RelayContext

BULK_BYTES: Final = 32768
"""A read this large twice in a row makes a lane bulky."""
CALM_BYTES: Final = 16384
"""A bulky lane that moves less than this in a turn goes back to recv/send."""
TURN_READS: Final = 8
TURN_S: Final = 0.001
"""How long a bulky lane may go on before others get their turn. Shorter turns move less at a time:
at 0.5 ms a byte costs half as much CPU again with eight flows."""

SPLICING: Final = 1 << 30
"""`Lane.bulk` of a lane whose sockets are prepared for splice."""

# What a lane says after its turn.
DRAINED: Final = 0
BLOCKED: Final = 1
MORE: Final = 2
FINISHED: Final = 3

_SPLICE_FLAGS: Final = SPLICE_F_MOVE | SPLICE_F_NONBLOCK


class Lane:
    """One direction: reads `src`, writes `dst`, and keeps what `dst` did not take yet."""

    __slots__ = (
        "backlog",
        "bulk",
        "done",
        "dst",
        "ended",
        "eof",
        "failed",
        "more",
        "pipe",
        "src",
        "total",
    )

    def __init__(self, src: SocketType, dst: SocketType) -> None:
        self.src = src
        self.dst = dst
        self.backlog: memoryview | None = None
        self.pipe: Pipe | None = None
        self.bulk = 0
        """Large reads in a row; from 2 on the lane splices. SPLICING once the sockets are ready."""
        self.ended = False
        """The peer's FIN is known to have arrived: a short read is the last."""
        self.failed = False
        """`src` was reset: what it had sent is delivered as far as there is room, then the RST."""
        self.eof = False
        """`src` has nothing more to say."""
        self.done = False
        """And `dst` has been told."""
        self.more = False
        """The last turn was cut short."""
        self.total = 0
        """Bytes delivered."""

    def turn(self, context: RelayContext) -> int:
        """Move bytes until there is nothing to read, no room, or the turn is over.

        Raises:
            OSError: one of the sockets failed.
        """
        if self.backlog is not None or self.pipe is not None:
            if not self.flush(context):
                return BLOCKED
            if self.eof:
                return FINISHED
        return self._copy(context) if self.bulk < 2 else self._splice(context)

    def flush(self, context: RelayContext) -> bool:
        """Whether everything read so far has been delivered."""
        if self.backlog is not None:
            try:
                sent = self.dst.send(self.backlog, MSG_DONTWAIT)
            except BlockingIOError:
                return False
            self.total += sent
            if sent < len(self.backlog):
                self.backlog = self.backlog[sent:]
                return False
            self.backlog = None
        pipe = self.pipe
        if pipe is not None:
            if not self._empty(context, pipe):
                return False
            self.pipe = None
            context.pipes.give_back(pipe)
        return True

    def release(self, context: RelayContext) -> None:
        """Let go of what is undelivered."""
        self.backlog = None
        if self.pipe is not None:
            context.pipes.give_back(self.pipe)
            self.pipe = None

    def _copy(self, context: RelayContext) -> int:
        reactor = context.reactor
        for _ in range(TURN_READS):
            try:
                got = self.src.recv_into(reactor.buffer, 0, MSG_DONTWAIT)
            except BlockingIOError:
                return DRAINED
            if not got:
                self.eof = True
                return FINISHED
            view = reactor.view[:got]
            try:
                sent = self.dst.send(view, MSG_DONTWAIT)
            except BlockingIOError:
                sent = 0
            self.total += sent
            self.eof = self.ended and got < BUFFER_BYTES
            if sent < got:
                self.backlog = memoryview(bytes(view[sent:]))
                return BLOCKED
            if self.eof:
                return FINISHED
            self.bulk = self.bulk + 1 if got >= BULK_BYTES else 0
            if got < BUFFER_BYTES:
                return DRAINED
            if self.bulk >= 2:
                break
        return MORE

    def _splice(self, context: RelayContext) -> int:
        """Move pages. The pipe stays with the lane only while it is not empty."""
        pipe = context.pipes.take()
        if pipe is None:
            return self._copy(context)
        self.pipe = pipe
        if self.bulk != SPLICING:  # splice knows no MSG_DONTWAIT on the socket's side
            self.src.setblocking(False)
            self.dst.setblocking(False)
            self.bulk = SPLICING
        start = self.total
        state = MORE
        end = monotonic() + TURN_S
        while monotonic() < end:
            try:
                got = splice(self.src.fileno(), pipe.writer, pipe.size, flags=_SPLICE_FLAGS)
            except BlockingIOError:
                state = DRAINED
                break
            if not got:
                self.eof = True
                state = FINISHED
                break
            pipe.held = got
            if not self._empty(context, pipe):
                return BLOCKED
        if 0 < self.total - start < CALM_BYTES:
            self.bulk = 0
        self.pipe = None
        context.pipes.give_back(pipe)
        return state

    def _empty(self, context: RelayContext, pipe: Pipe) -> bool:
        out = self.dst.fileno()
        while pipe.held:
            try:
                sent = splice(pipe.reader, out, pipe.held, flags=_SPLICE_FLAGS)
            except BlockingIOError:
                return False
            pipe.held -= sent
            self.total += sent
            context.tracker.spliced += sent
        return True
