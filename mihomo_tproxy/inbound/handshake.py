"""A client that has not yet said what it wants, whatever it speaks.

The listener leaves a client to the kernel until its first bytes are here (TCP_DEFER_ACCEPT, see
tcp(7)), so as a rule the first read succeeds, and a protocol of one message never comes to epoll
before its flow does.

Invariants: a handshake ends after `HANDSHAKE_S` at the latest; what is held of it is capped by its
codec; what we say fits into the client's empty send buffer, or the client is given up.
"""

from __future__ import annotations

from select import EPOLLIN, EPOLLRDHUP
from socket import MSG_DONTWAIT, SHUT_WR
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.errors import ProtocolError
from mihomo_tproxy.net.sockopt import cause_of, reset_on_close

if TYPE_CHECKING:
    from socket import SocketType

    from mihomo_tproxy.inbound.inbound import Inbound
    from mihomo_tproxy.model.metadata import RequestMetadata
    from mihomo_tproxy.net.sockopt import SocketAddress
    from mihomo_tproxy.outbound.base import Answer

HANDSHAKE_S: Final = 10.0
FAREWELL_S: Final = 2.0
FAREWELL_BYTES: Final = 1 << 20
"""What a client that was refused may still send before it is cut off."""
READABLE: Final = EPOLLIN | EPOLLRDHUP


class Handshake:
    """Reads until a request is complete; a `reactor.Handler` of the client's descriptor."""

    __slots__ = ("_watched", "client", "deadline", "inbound", "source")

    def __init__(self, inbound: Inbound, client: SocketType, source: SocketAddress) -> None:
        """Take a client over."""
        self.inbound = inbound
        self.client: SocketType | None = client
        """None once it is somebody else's, or closed."""
        self.source = source
        self.deadline = inbound.reactor.now + HANDSHAKE_S
        self._watched = False

    def receive(self, data: memoryview) -> None:
        """Take what the client said; `data` is valid during the call only.

        Raises:
            ProtocolError: it is not what the protocol says.
        """
        raise NotImplementedError

    def begin(self, data: memoryview) -> None:
        """Take what is here already, and wait for the rest."""
        if data:
            self._take(data)
        if self.client is not None:
            self.inbound.reactor.watch(self.client.fileno(), self, READABLE)
            self.inbound.clients += 1
            self._watched = True

    def on_event(self, fd: int, events: int) -> None:
        """The client said something, or ended."""
        client = self.client
        if client is None:
            return
        reactor = self.inbound.reactor
        try:
            got = client.recv_into(reactor.buffer, 0, MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError as error:
            self.abort(cause_of(error.errno, "handshake"))
            return
        if got:
            self._take(reactor.view[:got])
        else:
            self.abort("handshake-ended")

    def on_again(self) -> None:
        """Never asked for: readiness is level-triggered."""

    def expire(self, now: float) -> None:
        """The client is too slow."""
        self.abort("handshake-timeout")

    def abort(self, cause: str) -> None:
        """Close at once, by RST."""
        client = self.release()
        if client is not None:
            self.inbound.tracker.count(cause)
            reset_on_close(client)
            self.inbound.reactor.retire(client)

    def release(self) -> SocketType | None:
        """The client, no longer watched, for somebody else; None if it is not ours any more."""
        client, self.client = self.client, None
        if client is not None and self._watched:
            self.inbound.reactor.forget(client.fileno())
            self.inbound.clients -= 1
        return client

    def hand_over(self, metadata: RequestMetadata, answer: Answer | None) -> None:
        """Give the client to the tunnel."""
        client = self.release()
        if client is not None:
            self.inbound.tunnel.handle_request(client, metadata, answer)

    def say(self, words: bytes) -> None:
        """Send something short."""
        client = self.client
        if client is None or not words:
            return
        try:
            sent = client.send(words, MSG_DONTWAIT)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.abort(cause_of(error.errno, "handshake"))
            return
        if sent < len(words):
            self.abort("handshake-blocked")

    def refuse(self, cause: str, words: bytes) -> None:
        """Count a refusal, say it, and let the client read it before it is closed."""
        self.inbound.tracker.count(cause)
        client = self.release()
        if client is not None:
            Farewell(self.inbound, client, words)

    def _take(self, data: memoryview) -> None:
        try:
            self.receive(data)
        except ProtocolError as error:
            self.abort(error.cause)


class Farewell:
    """The end of a client that was refused.

    A socket closed with bytes unread sends RST, upon which the client's kernel may throw our last
    words away; so what it still sends is read until it ends too, within limits.
    """

    __slots__ = ("_client", "_inbound", "_left", "deadline")

    def __init__(self, inbound: Inbound, client: SocketType, words: bytes) -> None:
        """Take over a client that is not watched."""
        self._inbound = inbound
        self._client: SocketType | None = client
        self._left = FAREWELL_BYTES
        self.deadline = inbound.reactor.now + FAREWELL_S
        try:
            client.send(words, MSG_DONTWAIT)
            client.shutdown(SHUT_WR)
            inbound.reactor.watch(client.fileno(), self, READABLE)
        except OSError:
            inbound.reactor.retire(client)
            self._client = None
        else:
            inbound.clients += 1

    def on_event(self, fd: int, events: int) -> None:
        """The client goes on, or ends."""
        reactor, client = self._inbound.reactor, self._client
        if client is None:
            return
        try:
            got = client.recv_into(reactor.buffer, 0, MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            got = 0
        self._left -= got
        if not got or self._left < 0:
            self.abort("")

    def on_again(self) -> None:
        """Never asked for: readiness is level-triggered."""

    def expire(self, now: float) -> None:
        """The client had time enough to read."""
        self.abort("")

    def abort(self, cause: str) -> None:
        """Close."""
        client, self._client = self._client, None
        if client is not None:
            self._inbound.clients -= 1
            self._inbound.reactor.retire(client)
