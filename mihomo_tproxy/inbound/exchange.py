"""Plain HTTP through a proxy: requests of one client, one after another (RFC 9110, 7; RFC 9112).

    client --- PlainProxy --- socket pair --- flow through the tunnel --- server

Each request may go elsewhere, so each is read, freed of what is meant for us, and written to the
server it names; the tunnel takes the far end of a socket pair for a client. Requests that were sent
ahead wait until the response before them is complete. The way to a server is used again by the next
request if that is for the same one. Bodies pass through as they are framed. After `101 Switching
Protocols` the two connections are joined and nothing is looked at any more.

Invariants: of each direction at most one read, one head and what one of them left over are held;
while something waits to be sent, nothing is read from the other side; a message whose end is
uncertain ends both connections; a body cut short is never passed off as a whole one, if its framing
shows. A server that says nothing is given up by the flow's own timeouts.
"""

from __future__ import annotations

from select import EPOLLOUT
from socket import socketpair
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.codec.http1 import HeadReader, parse_request, parse_response
from mihomo_tproxy.errors import ProtocolError, RemoteProtocolError
from mihomo_tproxy.inbound.answers import ConnectAnswer, PlainAnswer, http_error, http_refusal
from mihomo_tproxy.inbound.end import End
from mihomo_tproxy.inbound.handshake import HANDSHAKE_S, Farewell
from mihomo_tproxy.inbound.http_request import (
    SWITCHING_PROTOCOLS,
    Exchange,
    authenticate,
    connect_metadata,
    forward_request,
    forward_response,
)
from mihomo_tproxy.model.enums import Network
from mihomo_tproxy.net.reactor import NEVER
from mihomo_tproxy.net.relay import Flow
from mihomo_tproxy.net.sockopt import cause_of, reset_on_close

if TYPE_CHECKING:
    from socket import SocketType

    from mihomo_tproxy.codec.http1 import RequestHead, ResponseHead
    from mihomo_tproxy.codec.layer import Buffer
    from mihomo_tproxy.inbound.inbound import Inbound
    from mihomo_tproxy.net.sockopt import SocketAddress

KEEP_ALIVE_S: Final = 60.0
"""How long a client may stay between two requests."""
_ANSWER: Final = PlainAnswer()


class PlainProxy:
    """One client's connection; a `reactor.Handler` of it and of the way to the server."""

    __slots__ = (
        *("_client", "_closed", "_closing", "_exchange", "_inbound", "_pending", "_replies"),
        *("_requests", "_reused", "_server", "_server_key", "_source", "deadline"),
    )

    def __init__(self, inbound: Inbound, client: SocketType, source: SocketAddress) -> None:
        """Take over a client that is not watched."""
        self._inbound = inbound
        self._source = source
        self._client = End(inbound.reactor, client)
        self._requests = HeadReader()
        self._pending = b""
        """What the client sent ahead."""
        self._server: End | None = None
        self._server_key: tuple[str, str, int, str] | None = None
        self._replies = HeadReader()
        self._exchange: Exchange | None = None
        """None between requests."""
        self._reused = False
        self._closing = False
        """Nothing follows what waits for the client."""
        self._closed = False
        self.deadline = NEVER
        inbound.clients += 1

    def begin(self, request: RequestHead, rest: bytes) -> None:
        """Serve the first request, of which `rest` came with the head."""
        self._on_request(request, rest)
        self._settle()

    def on_event(self, fd: int, events: int) -> None:
        """One of the two connections is ready."""
        if self._closed:
            return
        end, server = self._client, self._server
        if server is not None and fd == server.fd:
            end = server
        if events & EPOLLOUT:
            end.flush()
        if events & ~EPOLLOUT:
            if end is server:
                self._on_server(server)
            else:
                self._on_client()
        self._settle()

    def on_again(self) -> None:
        """Never asked for: readiness is level-triggered."""

    def expire(self, now: float) -> None:
        """Nothing, or half a head, came for too long."""
        self.abort("" if self._requests.empty else "handshake-timeout")

    def abort(self, cause: str) -> None:
        """Close both connections at once, the client's by RST if there is a cause."""
        if self._closed:
            return
        self._leave()
        if cause:
            self._inbound.tracker.count(cause)
            reset_on_close(self._client.sock)
        self._client.close()
        self._drop_server()

    # The client's side.

    def _on_client(self) -> None:
        if not self._wants_client():
            self._client.mute()
            return
        try:
            data = self._client.read()
        except OSError as error:
            self.abort(cause_of(error.errno, "http"))
            return
        if data is None:
            return
        if data:
            self._on_client_data(data)
        elif self._exchange is not None or not self._requests.empty:
            self.abort("http-truncated")
        else:
            self.abort("")

    def _wants_client(self) -> bool:
        if self._closing or self._pending or self._client.waiting:
            return False
        exchange, server = self._exchange, self._server
        if exchange is None:
            return True
        return not exchange.body.done and not (server is not None and server.waiting)

    def _on_client_data(self, data: Buffer) -> None:
        """A head, or the body of the request under way."""
        if self._exchange is not None:
            self._on_request_body(self._exchange, data)
            return
        try:
            found = self._requests.feed(data)
            if found is None:
                if self.deadline > self._inbound.reactor.now + HANDSHAKE_S:
                    self.deadline = self._inbound.reactor.now + HANDSHAKE_S
                return
            request = parse_request(found[0])
        except ProtocolError as error:
            self._refuse(error.cause, http_error(error.cause))
        else:
            self._on_request(request, found[1])

    def _on_request(self, request: RequestHead, rest: bytes) -> None:
        inbound, source = self._inbound, self._source
        self.deadline = NEVER
        try:
            user = authenticate(inbound, source, request)
            if request.method == "CONNECT":
                if self._client.waiting:
                    raise RemoteProtocolError("http-bad-framing", "CONNECT before an answer")
                metadata = connect_metadata(inbound, source, request, user)
                self._leave()
                self._drop_server()
                answer = ConnectAnswer(rest)
                inbound.tunnel.handle_request(self._client.sock, metadata, answer)
                return
            exchange = Exchange(request, forward_request(inbound, source, request, user))
        except ProtocolError as error:
            self._refuse(error.cause, http_error(error.cause))
            return
        self._exchange = exchange
        metadata = exchange.forward.metadata
        where = (metadata.destination, metadata.host, metadata.destination_port)
        key = (*where, metadata.inbound_user)
        self._reused = self._server is not None and self._server_key == key
        if self._reused and self._server is not None:
            self._server.send(exchange.forward.wire)
        else:
            self._server_key = key
            self._connect(exchange)
        if rest and self._exchange is exchange:
            self._on_request_body(exchange, rest)

    def _on_request_body(self, exchange: Exchange, data: Buffer) -> None:
        server = self._server
        try:
            size = exchange.body.take(data)
        except ProtocolError as error:
            if exchange.response is None:
                self._refuse(error.cause, http_error(error.cause))
            else:
                self.abort(error.cause)
            return
        if server is not None:
            server.send(data[:size])
        self._pending = bytes(data[size:])

    def _refuse(self, cause: str, words: bytes) -> None:
        """Answer in the server's place, and end."""
        self._inbound.tracker.count(cause)
        self._drop_server()
        self._exchange = None
        self._client.send(words)
        self._closing = True

    # The server's side.

    def _connect(self, exchange: Exchange) -> None:
        self._drop_server()
        try:
            near, far = socketpair()
        except OSError as error:
            cause = cause_of(error.errno, "http")
            self._refuse(cause, http_refusal(cause))
            return
        server = self._server = End(self._inbound.reactor, near)
        self._replies = HeadReader()
        server.send(exchange.forward.wire)
        self._inbound.tunnel.handle_request(far, exchange.forward.metadata, _ANSWER)

    def _drop_server(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def _on_server(self, server: End) -> None:
        if self._client.waiting:
            server.mute()
            return
        try:
            data = server.read()
        except OSError:
            data = b""
        if data is None:
            return
        try:
            if data:
                self._on_server_data(data)
            else:
                self._on_server_end()
        except ProtocolError as error:
            self._fail(error.cause)

    def _on_server_data(self, data: Buffer) -> None:
        exchange = self._exchange
        while data and exchange is not None and exchange is self._exchange:
            if exchange.response is None:
                found = self._replies.feed(data)
                if found is None:
                    return
                data = self._on_response(exchange, parse_response(found[0]), found[1])
            else:
                size = exchange.response.take(data)
                self._client.send(data[:size])
                data = data[size:]
            if exchange.response is not None and exchange.response.done:
                self._complete(exchange, reusable=exchange.reusable and not data)
                return
        if data:
            self._inbound.tracker.count("http-unasked-response")
            self._drop_server()

    def _on_response(self, exchange: Exchange, head: ResponseHead, rest: bytes) -> bytes:
        """Pass a response head on; what came after it."""
        if head.status == SWITCHING_PROTOCOLS:
            if not exchange.forward.upgrade:
                raise RemoteProtocolError("http-bad-head", "an upgrade nobody asked for")
            self._client.send(forward_response(head, close=False))
            self._join(rest)
            return b""
        if head.status >= 200:
            self._client.send(exchange.answer(head))
        elif exchange.minor:
            self._client.send(forward_response(head, close=False))
        return rest

    def _on_server_end(self) -> None:
        exchange = self._exchange
        if exchange is None:
            self._drop_server()
        elif exchange.response is not None:
            exchange.response.feed_eof()
            self._complete(exchange, reusable=False)
        elif self._reused and exchange.repeatable and self._replies.empty:
            self._reused = False  # it was closed before it heard us: once more, elsewhere
            self._connect(exchange)
        else:
            raise RemoteProtocolError("http-no-response")

    def _complete(self, exchange: Exchange, *, reusable: bool) -> None:
        """The response is passed on: what is next?"""
        self._exchange = None
        if not reusable:
            self._drop_server()
        if not exchange.keep or not exchange.body.done:
            self._closing = True
            return
        self.deadline = self._inbound.reactor.now + KEEP_ALIVE_S
        data, self._pending = self._pending, b""
        if data:
            self._on_client_data(data)

    def _fail(self, cause: str) -> None:
        """The server cannot be understood, or is gone."""
        if self._exchange is not None and self._exchange.response is None:
            self._refuse(cause, http_refusal(cause))
        else:
            self.abort(cause)

    def _leave(self) -> None:
        """The client is nobody's, or somebody else's, from now on."""
        self._closed = True
        self._inbound.clients -= 1
        self._client.mute()

    def _join(self, rest: bytes) -> None:
        """From now on the two connections are one; what is held of either goes first."""
        server, client = self._server, self._client
        if server is None:
            return
        client.send(rest)
        server.send(self._pending)
        if client.waiting or server.waiting:
            self.abort("http-upgrade-blocked")
            return
        context = self._inbound.context
        traffic = context.tracker.traffic("", Network.TCP)
        server.mute()
        client.mute()
        Flow(context, server.sock, client.sock, traffic)
        context.tracker.flow_opened(traffic)
        self._closed = True  # and not `_leave`: the client is watched for the flow already
        self._inbound.clients -= 1

    def _settle(self) -> None:
        """Ask for what may happen next."""
        if self._closed:
            return
        client, server = self._client, self._server
        if client.broken:
            self.abort("http-reset")
        elif self._closing and not client.waiting:
            self._leave()
            self._drop_server()
            Farewell(self._inbound, client.sock, b"")
        else:
            try:
                client.watch(self, read=self._wants_client())
                if server is not None:
                    server.watch(self, read=not client.waiting)
            except OSError as error:
                self.abort(cause_of(error.errno, "http"))
