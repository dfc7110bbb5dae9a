"""A worker's or the keeper's end of its socket pair with the supervisor; never blocks its loop.

The frames are those of `mihomo_tproxy.messages`. The supervisor writes to somebody who reads
whatever it does itself, so neither waits for the other; what it does not take is kept here, up to a
limit. It may be busy for minutes, with a large configuration: who has mere news leaves them out
while it is not `idle`.

Invariants: messages arrive whole and in order, and one that cannot be carried out does not stop
those after it; a descriptor goes with its message, or is closed.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
from typing import TYPE_CHECKING, Any, Final

from mihomo_tproxy.messages import CARRIES, LENGTH

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

log = logging.getLogger("channel")

MAX_MESSAGE: Final = 1 << 30
MAX_WAITING: Final = 64 << 20
"""Bytes that the supervisor did not take; with more it is gone, or stuck for good."""
READ: Final = 1 << 18
MAX_DESCRIPTORS: Final = 8
"""That come with one reading."""


class Channel:
    """Messages both ways."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        take: Callable[[tuple[Any, ...]], object],
        ended: Callable[[], object],
    ) -> None:
        """`take` hears each message, `ended` when there will be no more."""
        self._loop = loop
        self._sock = sock
        self._take = take
        self._ended = ended
        self._incoming = bytearray()
        self._descriptors: list[int] = []
        self._outgoing = bytearray()
        self._closed = False
        sock.setblocking(False)
        loop.add_reader(sock.fileno(), self._read)

    @property
    def idle(self) -> bool:
        """Whether everything that was sent has been taken."""
        return not self._outgoing

    def send(self, *message: Any) -> None:
        """One message, now or as soon as it is taken."""
        if self._closed:
            return
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        idle = not self._outgoing
        self._outgoing += LENGTH.pack(len(data)) + data
        if idle:
            self._write()
            if self._outgoing and not self._closed:
                self._loop.add_writer(self._sock.fileno(), self._write)
        if len(self._outgoing) > MAX_WAITING:
            self._end()

    def close(self) -> None:
        """Neither hear nor say anything any more."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._sock.fileno())
            self._loop.remove_writer(self._sock.fileno())
            self._sock.close()
            for descriptor in self._descriptors:
                os.close(descriptor)

    def _read(self) -> None:
        try:
            data, descriptors, _flags, _address = socket.recv_fds(self._sock, READ, MAX_DESCRIPTORS)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        self._descriptors += descriptors
        if not data:
            self._end()
            return
        self._incoming += data
        while not self._closed and (message := self._next()) is not None:
            try:
                self._take(message)
            except Exception:
                log.exception("%s cannot be carried out", message[0])

    def _next(self) -> tuple[Any, ...] | None:
        if len(self._incoming) < LENGTH.size:
            return None
        length = LENGTH.unpack_from(self._incoming)[0]
        end = LENGTH.size + (length & ~CARRIES)
        if end > MAX_MESSAGE:
            self._end()
            return None
        if len(self._incoming) < end:
            return None
        data = bytes(self._incoming[LENGTH.size : end])
        del self._incoming[:end]
        message: tuple[Any, ...] = pickle.loads(data)  # noqa: S301 (processes of one program)
        if length & CARRIES:
            return (*message, self._descriptors.pop(0) if self._descriptors else -1)
        return message

    def _write(self) -> None:
        try:
            sent = self._sock.send(self._outgoing)
        except BlockingIOError:
            return
        except OSError:
            self._end()
            return
        del self._outgoing[:sent]
        if not self._outgoing:
            self._loop.remove_writer(self._sock.fileno())

    def _end(self) -> None:
        if not self._closed:
            self.close()
            self._ended()
