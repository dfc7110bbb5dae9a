"""One listener that clients talk to: who may come in, what they speak, where they go.

The first byte tells the protocol (as on mihomo's mixed port): 4 is SOCKS4, 5 is SOCKS5, anything
else HTTP. What a listener does not speak is closed.
"""

from __future__ import annotations

from socket import IPPROTO_TCP, MSG_DONTWAIT, TCP_DEFER_ACCEPT, SocketType
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.codec import socks4, socks5
from mihomo_tproxy.config.specs.listener import ListenerType
from mihomo_tproxy.errors import RemoteProtocolError
from mihomo_tproxy.inbound.access import Gate
from mihomo_tproxy.inbound.handshake import Handshake
from mihomo_tproxy.inbound.http import HttpHandshake
from mihomo_tproxy.inbound.listener import Acceptor
from mihomo_tproxy.inbound.socks import Socks4Handshake, Socks5Handshake
from mihomo_tproxy.model.address import address_key, address_text
from mihomo_tproxy.model.metadata import RequestMetadata
from mihomo_tproxy.net.sockopt import cause_of
from mihomo_tproxy.tunnel.tunnel import first_address

if TYPE_CHECKING:
    from mihomo_tproxy.config.specs.listener import AccessSpec, ListenerSpec
    from mihomo_tproxy.model.enums import InboundType, Network
    from mihomo_tproxy.net.relay import RelayContext
    from mihomo_tproxy.net.resolve import Resolved
    from mihomo_tproxy.net.sockopt import SocketAddress
    from mihomo_tproxy.tunnel.tunnel import Tunnel

DEFER_S: Final = 5
"""How long the kernel keeps a silent client to itself."""
CLIENT_LIMIT: Final = 4096
"""Clients of one listener that are talked to at a time; flows are not counted here."""


class Inbound(Acceptor):
    """A listener that speaks HTTP, SOCKS, or both."""

    def __init__(
        self,
        context: RelayContext,
        sock: SocketType,
        tunnel: Tunnel,
        spec: ListenerSpec,
        access: AccessSpec,
    ) -> None:
        """Take a listening socket over."""
        sock.setsockopt(IPPROTO_TCP, TCP_DEFER_ACCEPT, DEFER_S)
        super().__init__(context.reactor, sock, context.tracker)
        self.reactor = context.reactor
        self.tracker = context.tracker
        self.tunnel = tunnel
        self._port: int = sock.getsockname()[1]
        self.clients = 0
        """Clients that are talked to here: in a handshake, or between plain requests."""
        self.associations = 0
        """UDP associations that are open."""
        self.configure(context, spec, access)

    def configure(self, context: RelayContext, spec: ListenerSpec, access: AccessSpec) -> None:
        """Ask this of clients that come from now on."""
        self.context = context
        self.name = spec.name
        self._port = spec.port
        self.gate = Gate(spec, access)
        self.udp = spec.udp
        self._proxy = spec.proxy
        self._socks = spec.type in (ListenerType.SOCKS, ListenerType.MIXED)
        self._http = spec.type in (ListenerType.HTTP, ListenerType.MIXED)

    def take(self, client: SocketType, source: SocketAddress) -> None:
        """Begin to talk to a client."""
        gate, reactor = self.gate, self.reactor
        if not gate.open and not gate.admits(source[0]):
            self.refuse(client, "not-allowed")
            return
        if self.clients >= CLIENT_LIMIT:
            self.refuse(client, "client-limit")
            return
        try:
            got = client.recv_into(reactor.buffer, 0, MSG_DONTWAIT)
        except BlockingIOError:
            Silent(self, client, source).begin(reactor.view[:0])
            return
        except OSError as error:
            self.refuse(client, cause_of(error.errno, "handshake"))
            return
        if not got:
            self.refuse(client, "handshake-ended")
        else:
            self.talk(client, source, reactor.view[:got])

    def talk(self, client: SocketType, source: SocketAddress, data: memoryview) -> None:
        """Take over a client that is not watched, by its first bytes.

        Raises:
            RemoteProtocolError: the listener does not speak what the client does.
        """
        first = data[0]
        handshake: Handshake
        if first == socks5.VERSION and self._socks:
            handshake = Socks5Handshake(self, client, source)
        elif first == socks4.VERSION and self._socks:
            handshake = Socks4Handshake(self, client, source)
        elif self._http:
            handshake = HttpHandshake(self, client, source)
        else:
            self.refuse(client, "socks-bad-version")
            return
        handshake.begin(data)

    def metadata(
        self,
        network: Network,
        kind: InboundType,
        source: SocketAddress,
        host: str,
        port: int,
        user: bytes = b"",
    ) -> RequestMetadata:
        """A flow that a client asked for, to a name or an address.

        What `hosts` says of a name holds before any rule is asked: another name takes its place,
        an address is known without `resolve`.

        Raises:
            RemoteProtocolError: the host is no name that could be asked for.
        """
        address, name = address_or_name(host)
        fixed: Resolved = ()
        if name:
            name, fixed = self.tunnel.resolver.in_hosts(name)
            address = first_address(fixed)
        metadata = RequestMetadata(network, kind, source[0], source[1], address, port, name)
        metadata.inbound_name = self.name
        metadata.inbound_port = self._port
        metadata.inbound_user = user.decode("utf-8", "replace")
        metadata.proxy = self._proxy
        metadata.fixed = bool(fixed)
        return metadata


class Silent(Handshake):
    """A client that has said nothing yet."""

    __slots__ = ()

    def receive(self, data: memoryview) -> None:
        """Its first bytes."""
        client = self.release()
        if client is not None:
            self.inbound.talk(client, self.source, data)


def address_or_name(host: str) -> tuple[str, str]:
    """A host as a client writes it, as (address, "") or ("", name).

    Raises:
        RemoteProtocolError: empty, or with characters that no name has.
    """
    if ":" in host or host[-1:].isdigit():
        try:
            return address_text(address_key(host)), ""
        except ValueError:
            pass  # a name may look like it
    name = host.rstrip(".").lower()
    if not name or not name.isascii() or not name.isprintable() or " " in name:
        raise RemoteProtocolError("bad-address", "not a host name")
    return "", name
