"""HTTP towards clients: the head of the first request.

CONNECT becomes a flow. Any other request, and those after it on the same connection, are for
`inbound.exchange`. What cannot be understood for sure is answered 400, and closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.codec.http1 import HeadReader, parse_request
from mihomo_tproxy.errors import ProtocolError
from mihomo_tproxy.inbound.answers import ConnectAnswer, http_error
from mihomo_tproxy.inbound.exchange import PlainProxy
from mihomo_tproxy.inbound.handshake import Handshake
from mihomo_tproxy.inbound.http_request import authenticate, connect_metadata

if TYPE_CHECKING:
    from socket import SocketType

    from mihomo_tproxy.inbound.inbound import Inbound
    from mihomo_tproxy.net.sockopt import SocketAddress


class HttpHandshake(Handshake):
    """A client whose first request is on its way."""

    __slots__ = ("_reader",)

    def __init__(self, inbound: Inbound, client: SocketType, source: SocketAddress) -> None:
        super().__init__(inbound, client, source)
        self._reader = HeadReader()

    def receive(self, data: memoryview) -> None:
        """Take a part of the head."""
        try:
            found = self._reader.feed(data)
            if found is None:
                return
            request = parse_request(found[0])
            if request.method == "CONNECT":
                user = authenticate(self.inbound, self.source, request)
                metadata = connect_metadata(self.inbound, self.source, request, user)
                self.hand_over(metadata, ConnectAnswer(found[1]))
                return
        except ProtocolError as error:
            self.refuse(error.cause, http_error(error.cause))
            return
        client = self.release()
        if client is not None:
            PlainProxy(self.inbound, client, self.source).begin(request, found[1])
