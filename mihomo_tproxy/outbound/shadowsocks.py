"""`type: ss`: streams, and datagrams either by themselves or over a stream.

    association --- ShadowsocksLink --- datagrams, a session of its own --- server
    association --- StreamLink --- UoT --- stream --- server                (`udp-over-tcp`)

One link is one session with the server for all remotes of a client port (full cone). Invariants:
what does not come from the server's port, or does not verify, is dropped and counted.
"""

from __future__ import annotations

from os import urandom
from time import time
from typing import TYPE_CHECKING

from mihomo_tproxy.codec.shadowsocks.ciphers import Edition, find_method
from mihomo_tproxy.codec.shadowsocks.editions import packet_codec, stream_layer
from mihomo_tproxy.codec.shadowsocks.profile import Profile
from mihomo_tproxy.codec.uot import MAGIC_HOSTS, MAGIC_PORT, UotPackets
from mihomo_tproxy.errors import LocalProtocolError, ProtocolError
from mihomo_tproxy.model.address import address_key, address_text
from mihomo_tproxy.net.sockopt import is_literal, socket_address
from mihomo_tproxy.outbound.packets import open_packet_link
from mihomo_tproxy.outbound.proxy import ProxyOutbound
from mihomo_tproxy.transport.carrier import Carrier
from mihomo_tproxy.transport.obfs import HttpObfs, TlsObfs

if TYPE_CHECKING:
    from mihomo_tproxy.codec.layer import Layer
    from mihomo_tproxy.config.specs.shadowsocks import ShadowsocksSpec
    from mihomo_tproxy.net.sockopt import SocketAddress
    from mihomo_tproxy.outbound.base import PacketLink, PacketSink
    from mihomo_tproxy.outbound.env import OutboundEnv


def build(spec: ShadowsocksSpec, env: OutboundEnv) -> Shadowsocks:
    """The outbound of an entry."""
    return Shadowsocks(env, spec)


class Shadowsocks(ProxyOutbound):
    """One Shadowsocks server."""

    def __init__(self, env: OutboundEnv, spec: ShadowsocksSpec) -> None:
        super().__init__(env, spec, _carrier(spec))
        method = find_method(spec.cipher)
        assert method is not None  # noqa: S101 - the parser's table is the same
        self.profile = Profile(method, spec.password, time, urandom)
        self.server = socket_address(spec.server, spec.port)
        """Where datagrams go."""
        if is_literal(spec.server):
            self.server = socket_address(address_text(address_key(spec.server)), spec.port)
        self._uot = spec.udp_over_tcp_version if spec.udp_over_tcp else 0

    def stream_layers(self, host: str, port: int) -> list[Layer]:
        """The cipher.

        Raises:
            LocalProtocolError: the host cannot be written.
        """
        return [stream_layer(self.profile, host, port)]

    def packet_layers(self, host: str, port: int) -> list[Layer]:
        """The cipher, and UDP over TCP above it.

        Raises:
            LocalProtocolError: the host cannot be written.
        """
        magic = stream_layer(self.profile, MAGIC_HOSTS[self._uot], MAGIC_PORT)
        return [magic, UotPackets(self._uot, host, port)]

    def open_udp(self, sink: PacketSink) -> PacketLink | None:
        """A link for one client port, None with `udp: false`.

        Raises:
            OSError: no descriptor for it.
        """
        if not self.udp:
            return None
        if self._uot:
            return open_packet_link(self, sink)
        return ShadowsocksLink.open(self, sink)


class ShadowsocksLink:
    """One session of datagrams."""

    __slots__ = ("_codec", "_learns", "_outbound", "_server", "_sink", "_way")

    @classmethod
    def open(cls, outbound: Shadowsocks, sink: PacketSink) -> ShadowsocksLink | None:
        """A link, None when the server cannot be reached by datagrams.

        Raises:
            OSError: no descriptor for it.
        """
        link = cls(outbound, sink)
        try:
            link._way = outbound.underlay_udp(link)
        except LocalProtocolError as error:
            outbound.context.tracker.count(error.cause)
        return link if link._way is not None else None

    def __init__(self, outbound: Shadowsocks, sink: PacketSink) -> None:
        self._outbound = outbound
        self._sink: PacketSink | None = sink
        self._codec = packet_codec(outbound.profile)
        self._server = outbound.server
        # Without a cipher whoever guesses a port could turn the session to himself.
        self._learns = outbound.profile.method.edition is not Edition.NONE
        self._way: PacketLink | None = None

    def send(self, data: memoryview, destination: SocketAddress) -> None:
        """Send a datagram by way of the server."""
        way = self._way
        if way is None:
            return
        try:
            wire = self._codec.seal(data, destination[0], destination[1])
        except ProtocolError as error:
            self._count(error.cause)
            return
        way.send(memoryview(wire), self._server)

    def deliver(self, data: memoryview, remote: SocketAddress) -> None:
        """A datagram for our port: the server's, or somebody's who guessed it."""
        sink, server = self._sink, self._server
        if sink is None:
            return
        if remote[1] != server[1] or (remote[0] != server[0] and is_literal(server[0])):
            self._count("ss-udp-stranger")
            return
        try:
            packet = self._codec.open(data)
        except ProtocolError as error:
            self._count(error.cause)
            return
        if self._learns:
            # The address that answered, in the name's place: no more look-ups.
            self._server = remote
        sink.deliver(memoryview(packet.data), socket_address(packet.host, packet.port))

    def close(self) -> None:
        """Let go of the socket and of the sink."""
        self._sink = None
        way, self._way = self._way, None
        if way is not None:
            way.close()

    def _count(self, cause: str) -> None:
        self._outbound.context.tracker.count(cause)


def _carrier(spec: ShadowsocksSpec) -> Carrier:
    obfs = spec.obfs
    if obfs is None:
        return Carrier()
    if obfs.mode == "http":
        return Carrier(transport=lambda: HttpObfs(obfs.host, spec.port, urandom))
    return Carrier(transport=lambda: TlsObfs(obfs.host, time, urandom))
