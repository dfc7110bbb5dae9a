"""A pool of pipes for splice(2), sized by F_SETPIPE_SZ (fcntl(2)).

A pipe is lent to a flow only while bytes are inside it and comes back empty, so that a handful
serves any number of flows and no flow can meet another one's bytes. One that is not empty when
its flow dies is destroyed.
"""

from __future__ import annotations

import fcntl
import os
from typing import Final

PIPE_SIZES: Final = (1 << 20, 1 << 18, 1 << 16)
"""Bytes asked for, largest first: an unprivileged user has a total limit (pipe(7))."""


class Pipe:
    """Two descriptors and how many bytes lie between them."""

    __slots__ = ("held", "reader", "size", "writer")

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.held = 0
        """Bytes inside."""
        self.size = 0
        """Capacity in bytes."""
        for size in PIPE_SIZES:
            try:
                self.size = fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, size)
                break
            except OSError:
                continue
        else:
            self.size = fcntl.fcntl(self.writer, fcntl.F_GETPIPE_SZ)

    def close(self) -> None:
        """Give both descriptors back, with whatever is inside."""
        os.close(self.reader)
        os.close(self.writer)


class PipePool:
    """At most `limit` pipes alive, at most `spare` of them idle."""

    def __init__(self, limit: int = 256, spare: int = 16) -> None:
        self.limit = limit
        self.spare = spare
        self.alive = 0
        """Pipes that exist, lent or idle."""
        self.exhausted = 0
        """How often a flow had to do without."""
        self._idle: list[Pipe] = []

    def take(self) -> Pipe | None:
        """An empty pipe, or None when the limit or the descriptors are used up."""
        if self._idle:
            return self._idle.pop()
        if self.alive >= self.limit:
            self.exhausted += 1
            return None
        try:
            pipe = Pipe()
        except OSError:
            self.exhausted += 1
            return None
        self.alive += 1
        return pipe

    def give_back(self, pipe: Pipe) -> None:
        """Return a pipe; one with bytes inside, or one too many, is destroyed."""
        if pipe.held or len(self._idle) >= self.spare:
            self.alive -= 1
            pipe.close()
        else:
            self._idle.append(pipe)

    def close(self) -> None:
        """Destroy the idle pipes; lent ones are destroyed as they come back."""
        self.alive -= len(self._idle)
        for pipe in self._idle:
            pipe.close()
        self._idle.clear()
        self.spare = 0
