"""A client that has not yet said what it wants, whatever it speaks.

The listener leaves a client to the kernel until its first bytes are here (TCP_DEFER_ACCEPT, see
tcp(7)), so as a rule the first read succeeds, and a protocol of one message never comes to epoll
before its flow does.

Invariants: a handshake ends after `HANDSHAKE_S` at the latest; what is held of it is capped by its
codec; what it says fits into the client's empty send buffer, or the client is given up.
"""

from __future__ import annotations

from select import EPOLLIN, EPOLLRDHUP
from socket import MSG_DONTWAIT, SHUT_WR
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.errors import RemoteProtocolError
from mihomo_tproxy.model.address import address_key, address_text
from mihomo_tproxy.model.enums import Network
from mihomo_tproxy.model.metadata import RequestMetadata
from mihomo_tproxy.net.sockopt import cause_of, reset_on_close

if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import SocketType

    from mihomo_tproxy.inbound.inbound import Inbound
    from mihomo_tproxy.model.enums import InboundType
    from mihomo_tproxy.net.reactor import Reactor
    from mihomo_tproxy.net.sockopt import SocketAddress

HANDSHAKE_S: Final = 10.0
FAREWELL_S: Final = 2.0
FAREWELL_BYTES: Final = 1 << 20
"""What a client that was refused may still send before it is cut off."""
READABLE: Final = EPOLLIN | EPOLLRDHUP


class Handshake:
    """Reads until a request is complete. `deadline` and the descriptor's events as of a Handler."""

    __slots__ = ("_watched", "client", "deadline", "inbound", "source")

    def __init__(self, inbound: Inbound, client: SocketType, source: SocketAddress) -> None:
        """Take a client over."""
        self.inbound = inbound
        self.client = client
        self.source = source
        self.deadline = inbound.reactor.now + HANDSHAKE_S
        self._watched = False

    def receive(self, data: memoryview) -> None:
        """Take what the client said; `data` is valid during the call only.

        Raises:
            ProtocolError: it is not what the protocol says.
        """
        raise NotImplementedError

    def begin(self) -> None:
        """Read what is here already, and wait for the rest."""
        self.on_event(self.client.fileno(), EPOLLIN)
        if self.client.fileno() >= 0 and not self._watched and self.deadline:
            self.watch()

    def watch(self) -> None:
        """Wait for more."""
        self._watched = True
        self.inbound.reactor.watch(self.client.fileno(), self, READABLE)
