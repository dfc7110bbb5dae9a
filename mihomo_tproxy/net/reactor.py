"""The flow reactor: one epoll of our own inside the event loop, plain callbacks, no task per flow.

The loop watches the epoll descriptor; when it is readable, `poll(0)` hands out a batch and each
descriptor's handler is called. See epoll(7) for the edge-triggered rules the handlers follow.

Invariants:
- A descriptor retired inside a batch is closed after the batch, so that no number is reused by a
  new flow while events of the old one are still to be handed out.
- A handler that raises loses its own flow (`abort`), never another's.
- A handler does a bounded amount of work per call; with more to do it asks for `again`, and
  everybody else's events come first.
- Timeouts cost a flow nothing: once a second a hand sweeps the descriptor table in short slices
  and calls `expire` on those past their `deadline`. There is no timer object per flow, and a
  closed flow leaves nothing behind.
"""

from __future__ import annotations

import logging
import select
import time
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from socket import SocketType

log = logging.getLogger(__name__)

BATCH: Final = 256
"""Events taken from the kernel at once."""
ROUNDS: Final = 4
"""Batches before the loop gets its turn."""
READY_SLICE_S: Final = 0.001
"""Continuations start until this much time is used; then events are looked for again."""
SWEEP_PERIOD_S: Final = 1.0
SWEEP_SLICE: Final = 256
"""Descriptors looked at before the loop gets its turn: 10 microseconds, and half a millisecond when
all of them have something to do (128 flows that are given keepalive)."""
SLICE_PAUSE_S: Final = 0.002
BUFFER_BYTES: Final = 65536
"""The one read buffer: the largest UDP datagram fits, and it stays in the cache."""
NEVER: Final = float("inf")


class Handler(Protocol):
    """What a descriptor's events are given to."""

    deadline: float
    """Reactor time after which `expire` is called; may lie earlier than the real timeout."""

    def on_event(self, fd: int, events: int) -> None:
        """The descriptor is ready as `events` (EPOLL* bits) says. Events are hints."""

    def on_again(self) -> None:
        """The turn asked for by `Reactor.again`."""

    def expire(self, now: float) -> None:
        """`deadline` has passed: close, or set a later one."""

    def abort(self, cause: str) -> None:
        """Give up everything held, at once; called after a handler raised."""


class Reactor:
    """The descriptor table, the clock and the turns of one worker."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.now = clock()
        """Coarse clock in seconds, refreshed once per batch."""
        self.buffer = bytearray(BUFFER_BYTES)
        """Shared read buffer: valid until the handler returns."""
        self.view = memoryview(self.buffer)
        self.round = 1
        """Number of the batch being handed out."""
        self.crashes = 0
        """Handlers that raised."""
        self._loop = loop
        self._clock = clock
        self._epoll = select.epoll()
        self._table: list[Handler | None] = [None] * SWEEP_SLICE
        self._retired: list[SocketType] = []
        self._ready: deque[Handler] = deque()
        self._busy = False
        self._turn_booked = False
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._started = False

    def start(self) -> None:
        """Begin handing out events and sweeping for timeouts."""
        self._started = True
        self._loop.add_reader(self._epoll.fileno(), self.dispatch)
        self._sweep_timer = self._loop.call_later(SWEEP_PERIOD_S, self._sweep_slice, 0)

    def close(self) -> None:
        """Abort every handler and release the epoll descriptor."""
        if self._started:
            self._loop.remove_reader(self._epoll.fileno())
            self._started = False
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
            self._sweep_timer = None
        for handler in self._table:
            if handler is not None:
                handler.abort("shutdown")
        self._ready.clear()
        self._table = []
        self._epoll.close()

    def watch(self, fd: int, handler: Handler, events: int) -> None:
        """Hand the events of `fd` to `handler` until it is retired or forgotten.

        Raises:
            OSError: the kernel refuses to watch the descriptor.
        """
        self._epoll.register(fd, events)
        try:
            self._table[fd] = handler
        except IndexError:
            self._table.extend([None] * (fd + SWEEP_SLICE - len(self._table)))
            self._table[fd] = handler

    def rewatch(self, fd: int, events: int) -> None:
        """Change the events of a watched descriptor."""
        self._epoll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """Stop watching a descriptor that stays open."""
        if fd < len(self._table) and self._table[fd] is not None:
            self._table[fd] = None
            self._epoll.unregister(fd)

    def retire(self, sock: SocketType) -> None:
        """Close a socket, watched or not: at once, or after the batch that is being handed out."""
        fd = sock.fileno()
        if 0 <= fd < len(self._table):
            self._table[fd] = None
        if self._busy:
            self._retired.append(sock)
        else:
            sock.close()

    def again(self, handler: Handler) -> None:
        """Call `handler.on_again` once everybody else had a turn."""
        self._ready.append(handler)
        if not self._busy:
            self._book_turn()

    def later(self, delay_s: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
        """Call back after a delay; for what is rare, not for flows."""
        return self._loop.call_later(delay_s, callback)

    def dispatch(self) -> None:
        """Hand out batches of events, each with the continuations of earlier ones.

        While there are events, going round here is cheaper than by way of the loop.
        """
        poll = self._epoll.poll
        for _ in range(ROUNDS):
            batch = poll(0, BATCH)
            if not batch and not self._ready:
                return  # nothing is left to come back for
            self.now = self._clock()
            self.round += 1
            self._busy = True
            table = self._table
            for fd, events in batch:
                handler = table[fd]
                if handler is not None:
                    try:
                        handler.on_event(fd, events)
                    except Exception:
                        self._crashed(handler)
            if self._ready:
                self._run_ready()
            self._busy = False
            if self._retired:
                self._close_retired()
        if self._ready:
            self._book_turn()

    def sweep(self, start: int, end: int) -> None:
        """Expire the handlers of the descriptors `start` to `end - 1` that are past due."""
        self.now = now = self._clock()
        self._busy = True
        for handler in self._table[start:end]:
            if handler is not None and handler.deadline <= now:
                try:
                    handler.expire(now)
                except Exception:
                    self._crashed(handler)
        self._busy = False
        if self._retired:
            self._close_retired()
        if self._ready:
            self._book_turn()

    def _sweep_slice(self, start: int) -> None:
        end = start + SWEEP_SLICE
        self.sweep(start, end)
        done = end >= len(self._table)
        self._sweep_timer = self._loop.call_later(
            SWEEP_PERIOD_S if done else SLICE_PAUSE_S, self._sweep_slice, 0 if done else end
        )

    def _run_ready(self) -> None:
        end = self._clock() + READY_SLICE_S
        for _ in range(len(self._ready)):
            handler = self._ready.popleft()
            try:
                handler.on_again()
            except Exception:
                self._crashed(handler)
            if self._clock() >= end:
                return

    def _book_turn(self) -> None:
        if not self._turn_booked and self._started:
            self._turn_booked = True
            self._loop.call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._turn_booked = False
        if self._started:
            self.dispatch()

    def _close_retired(self) -> None:
        retired, self._retired = self._retired, []
        for sock in retired:
            sock.close()

    def _crashed(self, handler: Handler) -> None:
        self.crashes += 1
        log.debug("a handler raised; its flow is closed", exc_info=True)
        try:
            handler.abort("internal-error")
        except Exception:
            log.debug("closing that flow raised too", exc_info=True)
