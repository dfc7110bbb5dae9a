"""HTTP towards clients: the first request, and who may send it (RFC 9110, 9.3.6 and 11.7).

CONNECT becomes a flow. Any other request, and those after it on the same connection, are for
`inbound.exchange`. What cannot be understood for sure is answered 400 and closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mihomo_tproxy.codec.http1 import HeadReader, parse_request
from mihomo_tproxy.codec.http1_body import request_body
from mihomo_tproxy.codec.http1_target import parse_authority, parse_basic
from mihomo_tproxy.errors import AuthenticationFailed, ProtocolError
from mihomo_tproxy.inbound.answers import ConnectAnswer, http_error
from mihomo_tproxy.inbound.exchange import PlainProxy
from mihomo_tproxy.inbound.handshake import Handshake
from mihomo_tproxy.model.enums import InboundType, Network

if TYPE_CHECKING:
    from socket import SocketType

    from mihomo_tproxy.codec.http1 import RequestHead
    from mihomo_tproxy.inbound.inbound import Inbound
    from mihomo_tproxy.model.metadata import RequestMetadata
    from mihomo_tproxy.net.sockopt import SocketAddress

_TCP: Final = Network.TCP
_HTTPS: Final = InboundType.HTTPS


class HttpHandshake(Handshake):
    """The head of the first request."""

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
            user = authenticate(self.inbound, self.source, request)
            if request.method == "CONNECT":
                metadata = connect_metadata(self.inbound, self.source, request, user)
                self.hand_over(metadata, ConnectAnswer(found[1]))
                return
        except ProtocolError as error:
            self.refuse(error.cause, http_error(error.cause))
            return
        client = self.release()
        if client is not None:
            PlainProxy(self.inbound, client, self.source).begin(request, user, found[1])


def authenticate(inbound: Inbound, source: SocketAddress, request: RequestHead) -> bytes:
    """Who asks; b"" where nobody needs to say.

    Raises:
        AuthenticationFailed: no credentials, or wrong ones.
    """
    verify = inbound.gate.verifier(source[0])
    if verify is None:
        return b""
    for name, value in request.headers:
        if name.lower() == "proxy-authorization":
            credentials = parse_basic(value)
            if credentials is not None and verify(*credentials):
                return credentials[0]
            break
    raise AuthenticationFailed("http-auth-failed")


def connect_metadata(
    inbound: Inbound, source: SocketAddress, request: RequestHead, user: bytes
) -> RequestMetadata:
    """The flow that a CONNECT asks for.

    Raises:
        RemoteProtocolError: it names no host and port, or has a body.
    """
    request_body(request)
    host, port = parse_authority(request.target)
    return inbound.metadata(_TCP, _HTTPS, source, host, port, user)
