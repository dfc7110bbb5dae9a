"""Happy eyeballs (RFC 8305): several addresses of one name, the first that connects wins.

Invariants: all attempts but the winner's are closed; `done` is called once; the race ends after the
connect timeout of its start.
"""

from __future__ import annotations

from select import EPOLLERR, EPOLLHUP, EPOLLOUT
from socket import SO_ERROR, SOL_SOCKET
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.net.sockopt import cause_of, socket_address

if TYPE_CHECKING:
    import asyncio
    from socket import SocketType

    from mihomo_tproxy.net.dial import Dialer, Dialled

ATTEMPT_DELAY_S: Final = 0.25
"""RFC 8305, 5: the recommended Connection Attempt Delay."""


class Race:
    """Attempts to connect to one of several addresses."""

    def __init__(
        self, dialer: Dialer, timeout_s: float, addresses: tuple[str, ...], port: int, done: Dialled
    ) -> None:
        self._dialer = dialer
        self._reactor = dialer.reactor
        self._addresses = list(addresses)
        self._port = port
        self._done: Dialled | None = done
        self._running: dict[int, SocketType] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._cause = "dial-timeout"
        self.deadline = self._reactor.now + timeout_s

    def start(self) -> None:
        """Begin the first attempt."""
        self._next()

    def on_event(self, fd: int, events: int) -> None:
        """An attempt ended."""
        sock = self._running.get(fd)
        if sock is None:
            return
        if events & (EPOLLERR | EPOLLHUP):
            self._cause = cause_of(sock.getsockopt(SOL_SOCKET, SO_ERROR), "dial")
            del self._running[fd]
            self._reactor.retire(sock)
            self._next()
        elif events & EPOLLOUT:
            del self._running[fd]
            self._reactor.forget(fd)
            self._end(sock, "")

    def on_again(self) -> None:
        """Never asked for."""

    def expire(self, now: float) -> None:
        """Nobody answered."""
        self._end(None, "dial-timeout")

    def abort(self, cause: str) -> None:
        """Give up."""
        self._end(None, cause)

    def _next(self) -> None:
        """Start one more attempt; without one left and none running the race is lost."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._addresses and self._done is not None:
            sock = None
            try:
                address = socket_address(self._addresses.pop(0), self._port)
                sock = self._dialer.connect(address, racing=True)
                self._reactor.watch(sock.fileno(), self, EPOLLOUT)
            except OSError as error:
                self._cause = cause_of(error.errno, "dial")
                if sock is not None:
                    sock.close()
                continue
            self._running[sock.fileno()] = sock
            if self._addresses:
                self._timer = self._reactor.later(ATTEMPT_DELAY_S, self._next)
            return
        if not self._running:
            self._end(None, self._cause)

    def _end(self, winner: SocketType | None, cause: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for sock in self._running.values():
            self._reactor.retire(sock)
        self._running.clear()
        done, self._done = self._done, None
        if done is not None:
            done(winner, cause)
        elif winner is not None:
            winner.close()
