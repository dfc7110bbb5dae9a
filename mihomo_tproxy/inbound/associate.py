"""SOCKS5 UDP ASSOCIATE: datagrams of one client, full cone (RFC 1928, 7; RFC 4787).

    client a:p --- socket of the association --- link per outbound --- X, Y, anyone

The relay address is a port of its own at the address the client came to. Only datagrams from the
client's address count, and from the port that the first of them came from: to the rules that is
their source, and as in mihomo nobody's in particular, whoever authenticated for the association.
Rules decide per destination, names stay names; replies come from whoever sends them.

Invariants: the association ends with its TCP connection; destinations are capped, the oldest go
first, and each is forgotten when nothing went there or came from there for the UDP timeout; when
nothing moves at all the links go too; a datagram that fails is counted and lost.
"""

from __future__ import annotations

from select import EPOLLIN
from socket import MSG_DONTWAIT, SOCK_DGRAM, SOCK_NONBLOCK, SocketType
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.codec import socks5
from mihomo_tproxy.codec.address import SOCKS_IPV4, SOCKS_IPV6, SOCKS_NAME, encode_socks_address
from mihomo_tproxy.errors import NeedsAddress, ProtocolError
from mihomo_tproxy.inbound.handshake import READABLE, Farewell
from mihomo_tproxy.model.enums import InboundType, Network
from mihomo_tproxy.net.reactor import NEVER
from mihomo_tproxy.net.sockopt import cause_of, socket_address

if TYPE_CHECKING:
    from mihomo_tproxy.inbound.inbound import Inbound
    from mihomo_tproxy.model.metadata import RequestMetadata
    from mihomo_tproxy.net.sockopt import SocketAddress
    from mihomo_tproxy.net.tracker import Traffic
    from mihomo_tproxy.outbound.base import Outbound, PacketLink

ASSOCIATION_LIMIT: Final = 4096
"""Associations of one listener."""
DESTINATION_LIMIT: Final = 256
REMOTE_LIMIT: Final = 1024
"""Remotes whose header is remembered."""
TURN_DATAGRAMS: Final = 64
WAITING_NAMES: Final = 16
"""Names of one client that are looked up at a time, since a rule asks for their addresses."""
WAITING_DATAGRAMS: Final = 16
"""Datagrams to each of them that wait meanwhile."""
_KEY_AT: Final = 2
"""The key of a destination is its header from the fragment number on."""
_MIN_DATAGRAM: Final = 7
_IPV4_HEADER: Final = 10
_IPV6_HEADER: Final = 22


class Destination:
    """Where a client sends, and by which way."""

    __slots__ = ("active", "address", "link", "offset", "traffic")

    def __init__(
        self, address: SocketAddress, offset: int, link: PacketLink, traffic: Traffic
    ) -> None:
        self.address = address
        self.offset = offset
        """Where payload begins in a datagram to there."""
        self.link = link
        self.traffic = traffic
        self.active = 0.0


class Association:
    """One client's datagrams; a `reactor.Handler` of both sockets and a `PacketSink`."""

    __slots__ = (
        *("_client", "_destinations", "_headers", "_heard", "_inbound", "_links", "_peer"),
        *("_replies", "_round", "_sock", "_source", "_waiting", "deadline"),
    )

    def __init__(
        self,
        inbound: Inbound,
        client: SocketType,
        sock: SocketType,
        source: SocketAddress,
    ) -> None:
        """Take over the client's connection and a bound datagram socket.

        Raises:
            OSError: they cannot be watched; both stay the caller's.
        """
        self._inbound = inbound
        self._client: SocketType | None = client
        self._sock = sock
        self._source = source
        self._peer: SocketAddress | None = None
        self._destinations: dict[bytes, Destination] = {}
        self._headers: dict[SocketAddress, tuple[bytes, bytes]] = {}
        """The header of a remote's datagrams, and the key of the destination that it is."""
        self._heard = 0.0
        self._links: dict[Outbound, PacketLink] = {}
        self._replies = inbound.tracker.traffic("", Network.UDP)
        self._waiting: dict[bytes, list[bytes]] = {}
        """Datagrams to destinations that are not decided yet."""
        self._round = 0
        self.deadline = NEVER
        reactor = inbound.reactor
        reactor.watch(sock.fileno(), self, EPOLLIN)
        try:
            reactor.watch(client.fileno(), self, READABLE)
        except OSError:
            reactor.forget(sock.fileno())
            raise
        inbound.associations += 1

    def on_event(self, fd: int, events: int) -> None:
        """Datagrams came, or the connection ends."""
        client = self._client
        if client is None:
            return
        if fd == client.fileno():
            self._on_client(client)
            return
        reactor, sock = self._inbound.reactor, self._sock
        reads = TURN_DATAGRAMS if reactor.round - self._round <= 1 else 1
        self._round = reactor.round
        view, buffer = reactor.view, reactor.buffer
        try:
            for _ in range(reads):
                size, sender = sock.recvfrom_into(buffer)
                if sender == self._peer or self._is_client(sender):
                    self._forward(view[:size])
        except BlockingIOError:
            pass
        except OSError as error:
            self._inbound.tracker.count(cause_of(error.errno, "udp-client"))

    def deliver(self, data: memoryview, remote: SocketAddress) -> None:
        """Send a datagram to the client, with who it is from."""
        peer, tracker = self._peer, self._inbound.tracker
        if peer is None or self._client is None:
            return
        known = self._headers.get(remote)
        try:
            if known is None:
                known = self._header_of(remote)
            self._sock.sendmsg((known[0], data), (), MSG_DONTWAIT, peer)
        except ProtocolError as error:
            tracker.count(error.cause)
        except OSError as error:
            tracker.count(cause_of(error.errno, "udp-client"))
        else:
            tracker.datagrams_down += 1
            self._heard = now = self._inbound.reactor.now
            destination = self._destinations.get(known[1])
            if destination is None:
                self._replies.down += len(data)
            else:
                destination.active = now
                destination.traffic.down += len(data)

    def on_again(self) -> None:
        """Never asked for: readiness is level-triggered."""

    def expire(self, now: float) -> None:
        """Forget the destinations that nothing went to or came from for long."""
        timeout = self._inbound.tunnel.nat.udp_timeout_s
        for key, each in list(self._destinations.items()):
            if each.active + timeout <= now:
                self._forget(key)
        if self._destinations:
            self.deadline = timeout + min(each.active for each in self._destinations.values())
        elif self._heard + timeout > now:
            self.deadline = timeout + self._heard
        else:
            self._close_links()
            self.deadline = NEVER

    def abort(self, cause: str) -> None:
        """Close everything."""
        client, self._client = self._client, None
        if client is None:
            return
        inbound = self._inbound
        if cause:
            inbound.tracker.count(cause)
        for key in list(self._destinations):
            self._forget(key)
        self._close_links()
        inbound.reactor.retire(self._sock)
        inbound.reactor.retire(client)
        inbound.associations -= 1

    def _on_client(self, client: SocketType) -> None:
        """The connection carries nothing but its end; what it says all the same is passed over."""
        try:
            got = client.recv_into(self._inbound.reactor.buffer, 0, MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            got = 0
        if not got:
            self.abort("")

    def _is_client(self, sender: SocketAddress) -> bool:
        """Whether this is the first datagram, and from the client's address."""
        if self._peer is None and sender[0] == self._source[0]:
            self._peer = sender
            return True
        self._inbound.tracker.count("udp-stranger")
        return False

    def _forward(self, data: memoryview) -> None:
        inbound = self._inbound
        if len(data) < _MIN_DATAGRAM:
            inbound.tracker.count("socks5-short")
            return
        kind = data[3]
        if kind == SOCKS_IPV4:
            offset = _IPV4_HEADER
        elif kind == SOCKS_IPV6:
            offset = _IPV6_HEADER
        else:
            offset = _MIN_DATAGRAM + data[4] if kind == SOCKS_NAME else _MIN_DATAGRAM
        header = bytes(data[_KEY_AT:offset])
        destination = self._destinations.get(header)
        if destination is None:
            destination = self._open(header, data)
            if destination is None:
                return
        payload = data[destination.offset :]
        destination.active = inbound.reactor.now
        inbound.tracker.datagrams_up += 1
        destination.traffic.up += len(payload)
        destination.link.send(payload, destination.address)

    def _open(self, header: bytes, data: memoryview) -> Destination | None:
        """Ask the rules about a destination; None when they, or the datagram, do not let it."""
        inbound = self._inbound
        queue = self._waiting.get(header)
        if queue is not None:
            if len(queue) < WAITING_DATAGRAMS:
                queue.append(bytes(data))
            else:
                inbound.tracker.count("udp-name-queue-full")
            return None
        try:
            host, port, offset = socks5.parse_udp(data)
            metadata = inbound.metadata(
                Network.UDP, InboundType.SOCKS5, self._peer or self._source, host, port
            )
        except ProtocolError as error:
            inbound.tracker.count(error.cause)
            return None
        return self._decide(header, metadata, offset, data)

    def _decide(
        self, header: bytes, metadata: RequestMetadata, offset: int, data: memoryview
    ) -> Destination | None:
        inbound = self._inbound
        try:
            outbound = inbound.tunnel.decide(metadata)
        except NeedsAddress:
            self._wait(header, metadata, offset, data)
            return None
        if outbound is None:
            inbound.tracker.count("no-outbound")
            return None
        link = self._link_to(outbound)
        if link is None:
            return None
        if len(self._destinations) >= DESTINATION_LIMIT:
            self._forget(next(iter(self._destinations)))
        host = metadata.destination or metadata.host
        address = socket_address(host, metadata.destination_port)
        traffic = inbound.tracker.traffic(outbound.name, Network.UDP)
        destination = Destination(address, offset, link, traffic)
        inbound.tracker.session_opened(traffic)
        self._destinations[header] = destination
        self.deadline = min(self.deadline, inbound.reactor.now + inbound.tunnel.nat.udp_timeout_s)
        return destination

    def _wait(
        self, header: bytes, metadata: RequestMetadata, offset: int, data: memoryview
    ) -> None:
        """The rules ask for the destination's address: datagrams to it wait, a few."""
        inbound = self._inbound

        def decide() -> None:
            queue = self._waiting.pop(header, [])
            if self._client is None or not queue:
                return
            if self._decide(header, metadata, offset, memoryview(queue[0])) is not None:
                for each in queue:
                    self._forward(memoryview(each))

        self._waiting[header] = [bytes(data)]
        if len(self._waiting) > WAITING_NAMES or not inbound.tunnel.resolve(metadata, decide):
            del self._waiting[header]
            inbound.tracker.count("resolve-limit")

    def _link_to(self, outbound: Outbound) -> PacketLink | None:
        link = self._links.get(outbound)
        if link is not None:
            return link
        try:
            link = outbound.open_udp(self)
        except OSError as error:
            self._inbound.tracker.count(cause_of(error.errno, "udp-dial"))
            return None
        if link is None:
            self._inbound.tracker.count("udp-rejected")
        else:
            self._links[outbound] = link
        return link

    def _header_of(self, remote: SocketAddress) -> tuple[bytes, bytes]:
        if len(self._headers) >= REMOTE_LIMIT:
            del self._headers[next(iter(self._headers))]
        header = b"\0\0\0" + encode_socks_address(remote[0], remote[1])
        known = self._headers[remote] = (header, header[_KEY_AT:])
        return known

    def _forget(self, key: bytes) -> None:
        self._inbound.tracker.session_closed(self._destinations.pop(key).traffic)

    def _close_links(self) -> None:
        for link in self._links.values():
            link.close()
        self._links.clear()


def open_association(inbound: Inbound, client: SocketType, source: SocketAddress) -> None:
    """Answer a UDP ASSOCIATE; the client is not watched, and taken over."""
    sock = None
    if inbound.associations >= ASSOCIATION_LIMIT:
        cause = "udp-association-limit"
    else:
        try:
            here = client.getsockname()
            sock = SocketType(client.family, SOCK_DGRAM | SOCK_NONBLOCK, 0)
            sock.bind((here[0], 0, *here[2:]))
            reply = socks5.encode_reply(socks5.SUCCEEDED, here[0], sock.getsockname()[1])
            association = Association(inbound, client, sock, source)
        except OSError as error:
            cause = cause_of(error.errno, "udp-associate")
        else:
            try:
                client.send(reply, MSG_DONTWAIT)
            except OSError as error:
                association.abort(cause_of(error.errno, "udp-associate"))
            return
    if sock is not None:
        sock.close()
    inbound.tracker.count(cause)
    Farewell(inbound, client, socks5.encode_reply(socks5.GENERAL_FAILURE))
