"""One end of a connection that is read and written by turns, level-triggered (epoll(7))."""

from __future__ import annotations

from select import EPOLLIN, EPOLLOUT
from socket import MSG_DONTWAIT
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from socket import SocketType

    from mihomo_tproxy.codec.layer import Buffer
    from mihomo_tproxy.net.reactor import Handler, Reactor


class End:
    """A socket, what it did not take yet, and what is asked of epoll for it.

    Reading is asked for when it is wanted; it is given up only when something came that is not, so
    that a connection of short turns costs no calls.
    """

    __slots__ = ("_mask", "_out", "_reactor", "broken", "fd", "sock")

    def __init__(self, reactor: Reactor, sock: SocketType) -> None:
        """Take over a socket that is not watched."""
        self._reactor = reactor
        self.sock = sock
        self.fd = sock.fileno()
        self.broken = False
        """What is sent goes nowhere any more."""
        self._out: bytes | memoryview = b""
        self._mask = 0

    @property
    def waiting(self) -> bool:
        """Something waits to be sent: nothing more should be made for here."""
        return bool(self._out)

    def send(self, data: Buffer) -> None:
        """Send now, or as soon as the socket takes it."""
        if self.broken or not data:
            return
        if self._out:
            self._out = bytes(self._out) + bytes(data)
            return
        try:
            sent = self.sock.send(data, MSG_DONTWAIT)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.broken = True
            return
        if sent < len(data):
            self._out = memoryview(bytes(data[sent:]))

    def flush(self) -> None:
        """Send what waits."""
        data, self._out = self._out, b""
        self.send(data)

    def read(self) -> Buffer | None:
        """What came, into the reactor's buffer; b"" at the end of the stream, None if nothing did.

        Raises:
            OSError: the connection failed.
        """
        try:
            got = self.sock.recv_into(self._reactor.buffer, 0, MSG_DONTWAIT)
        except BlockingIOError:
            return None
        return self._reactor.view[:got]

    def watch(self, handler: Handler, *, read: bool) -> None:
        """Ask for what is of interest now.

        Raises:
            OSError: the kernel refuses to watch the socket.
        """
        mask = self._mask & ~EPOLLOUT
        if read:
            mask |= EPOLLIN
        if self._out:
            mask |= EPOLLOUT
        if mask == self._mask:
            return
        if not mask:
            self.mute()
        elif self._mask:
            self._reactor.rewatch(self.fd, mask)
        else:
            self._reactor.watch(self.fd, handler, mask)
        self._mask = mask

    def mute(self) -> None:
        """Ask for nothing; also a connection that failed is silent then."""
        if self._mask:
            self._reactor.forget(self.fd)
            self._mask = 0

    def close(self) -> None:
        """Close; what waits is lost."""
        self._out = b""
        self._mask = 0
        self._reactor.retire(self.sock)
