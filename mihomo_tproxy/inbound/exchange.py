"""Plain HTTP through a proxy: requests of one client, one after another (RFC 9110, 7; RFC 9112).

    client --- PlainProxy --- socket pair --- flow through the tunnel --- server

Each request may go elsewhere, so each is read, freed of what is meant for us, and written to the
server it names; the tunnel takes the far end of a socket pair for a client. Requests that were sent
ahead wait until the response before them is complete. The way to a server is used again by the next
request if that is for the same one. Bodies pass through as they are framed. After `101 Switching
Protocols` the two connections are joined and nothing is looked at any more.

Invariants: of each direction at most one read, one head and what one of them left over are held;
while something waits to be sent, nothing is read from the other side; a message whose end is
uncertain ends both connections; a body cut short is never passed off as a whole one.
"""

from __future__ import annotations

from socket import MSG_DONTWAIT, socketpair
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.codec.http1 import (
    HeadReader,
    RequestHead,
    encode_request,
    encode_response,
    end_to_end,
    field_values,
    parse_request,
    parse_response,
    persistent,
)
from mihomo_tproxy.codec.http1_body import BodyReader, request_body, response_body
from mihomo_tproxy.codec.http1_target import parse_absolute
from mihomo_tproxy.errors import ProtocolError, RemoteProtocolError
from mihomo_tproxy.inbound.answers import ConnectAnswer, PlainAnswer, http_error, http_refusal
from mihomo_tproxy.inbound.end import End
from mihomo_tproxy.inbound.handshake import HANDSHAKE_S, Farewell
from mihomo_tproxy.model.enums import InboundType, Network
from mihomo_tproxy.net.reactor import NEVER
from mihomo_tproxy.net.relay import Flow
from mihomo_tproxy.net.sockopt import cause_of, reset_on_close

if TYPE_CHECKING:
    from socket import SocketType

    from mihomo_tproxy.codec.http1 import ResponseHead
    from mihomo_tproxy.inbound.inbound import Inbound
    from mihomo_tproxy.net.sockopt import SocketAddress

KEEP_ALIVE_S: Final = 60.0
"""How long a client may stay between two requests."""
_REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_ANSWER: Final = PlainAnswer()
_NO_BODY: Final = BodyReader()


class PlainProxy:
    """One client's connection; a `reactor.Handler` of it and of the way to the server."""

    __slots__ = (
        *("_again", "_answered", "_body", "_client", "_closing", "_inbound", "_keep", "_pending"),
        *("_reader", "_replies", "_request", "_reused", "_server", "_server_key", "_source"),
        *("_upgrade", "_wire", "deadline"),
    )

    def __init__(self, inbound: Inbound, client: SocketType, source: SocketAddress) -> None:
        """Take over a client that is not watched."""
        self._inbound = inbound
        self._source = source
        self._client = End(inbound.reactor, self, client)
        self._server: End | None = None
        self._server_key: tuple[str, int, bytes] | None = None
        self._reader = HeadReader()
        """Of requests."""
        self._replies = HeadReader()
        self._pending = b""
        """What the client sent ahead."""
        self._request: RequestHead | None = None
        """The request under way; None between requests."""
        self._body = _NO_BODY
        """Of that request."""
        self._answered: BodyReader | None = None
        """The body of its response, once there is a head."""
        self._wire = b""
        """That request as it was sent, if it may be sent once more."""
        self._reused = False
        self._keep = False
        self._closing = False
        self._upgrade = ""
        self._again = False
        self.deadline = NEVER
