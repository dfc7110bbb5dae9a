"""SOCKS4, SOCKS4a and SOCKS5 towards clients (codecs: `codec.socks4`, `codec.socks5`).

CONNECT becomes a flow, UDP ASSOCIATE an association (`inbound.associate`); BIND is refused. A
SOCKS4 client authenticates by its user id and an empty password, as in mihomo.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mihomo_tproxy.codec import socks4, socks5
from mihomo_tproxy.errors import ProtocolError
from mihomo_tproxy.inbound.answers import Socks4Answer, Socks5Answer
from mihomo_tproxy.inbound.associate import open_association
from mihomo_tproxy.inbound.handshake import Handshake
from mihomo_tproxy.model.enums import InboundType, Network

if TYPE_CHECKING:
    from socket import SocketType

    from mihomo_tproxy.inbound.inbound import Inbound
    from mihomo_tproxy.net.sockopt import SocketAddress

_TCP: Final = Network.TCP
_SOCKS4: Final = InboundType.SOCKS4
_SOCKS5: Final = InboundType.SOCKS5


class Socks5Handshake(Handshake):
    """Greeting, perhaps a password, a request."""

    __slots__ = ("_server",)

    def __init__(self, inbound: Inbound, client: SocketType, source: SocketAddress) -> None:
        super().__init__(inbound, client, source)
        self._server = socks5.Socks5Server(inbound.gate.verifier(source[0]))

    def receive(self, data: memoryview) -> None:
        """Take a part of the conversation."""
        server = self._server
        try:
            request = server.receive_data(data)
            if request is None:
                words, server.output = server.output, b""
                self.say(words)
                return
            self._serve(request)
        except ProtocolError as error:
            self.refuse(error.cause, server.output)

    def _serve(self, request: socks5.SocksRequest) -> None:
        server, inbound = self._server, self.inbound
        if request.command == socks5.CONNECT:
            try:
                metadata = inbound.metadata(_TCP, _SOCKS5, self.source, *request[1:])
            except ProtocolError:
                server.output += socks5.encode_reply(socks5.HOST_UNREACHABLE)
                raise
            self.say(server.output)
            self.hand_over(metadata, Socks5Answer(server.early))
        elif request.command == socks5.UDP_ASSOCIATE and inbound.udp:
            self.say(server.output)
            self._associate()
        else:
            server.output += socks5.encode_reply(socks5.COMMAND_NOT_SUPPORTED)
            self.refuse("socks5-command", server.output)

    def _associate(self) -> None:
        client = self.release()
        if client is not None:
            open_association(self.inbound, client, self.source)


class Socks4Handshake(Handshake):
    """One request."""

    __slots__ = ("_server",)

    def __init__(self, inbound: Inbound, client: SocketType, source: SocketAddress) -> None:
        super().__init__(inbound, client, source)
        self._server = socks4.Socks4Server(inbound.gate.verifier(source[0]))

    def receive(self, data: memoryview) -> None:
        """Take a part of the request."""
        server = self._server
        try:
            request = server.receive_data(data)
            if request is None:
                return
            if request.command != socks4.CONNECT:
                self.refuse("socks4-command", socks4.encode_reply(socks4.REJECTED))
                return
            metadata = self.inbound.metadata(_TCP, _SOCKS4, self.source, *request[1:])
        except ProtocolError as error:
            self.refuse(error.cause, server.output)
            return
        self.hand_over(metadata, Socks4Answer(server.early))
