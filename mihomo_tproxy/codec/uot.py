"""UDP over TCP: datagrams of any remote in a stream of a proxy that has no other way for them.

sing-box.sagernet.org/configuration/shared/udp-over-tcp. The stream is opened to a name that stands
for no host and says the version; version 2 then has a request, of which we use the form whose
datagrams carry addresses, as those of version 1 do:

    request    connect 1 (0) | address of the first remote, as SOCKS writes it
    datagram   address (ATYP 0 IPv4, 1 IPv6, 2 name) | length 2 | data

Invariants: at most one datagram that is not complete is held. Causes: bad-address, bad-name,
uot-cut-short, uot-too-long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mihomo_tproxy.codec.address import (
    encode_socks_address,
    encode_uot_address,
    parse_uot_address,
)
from mihomo_tproxy.codec.layer import Packet, PacketLayer
from mihomo_tproxy.errors import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from mihomo_tproxy.codec.layer import Buffer

VERSIONS: Final = (1, 2)
MAGIC_HOSTS: Final = {1: "sp.udp-over-tcp.arpa", 2: "sp.v2.udp-over-tcp.arpa"}
MAGIC_PORT: Final = 0
"""Not looked at by servers; what others send."""
MAX_DATAGRAM: Final = 0xFFFF


class UotPackets(PacketLayer):
    """Datagrams to and from any remote."""

    __slots__ = ("_held", "_need", "_request")

    def __init__(self, version: int, host: str, port: int) -> None:
        """`host` and `port` are the first remote.

        Raises:
            LocalProtocolError: the host cannot be written.
        """
        super().__init__()
        self._request = b"\0" + encode_socks_address(host, port) if version == 2 else b""
        self._held = bytearray()
        self._need = 0
        """Less than that much held has no datagram to give."""

    def seal_packet(self, data: Buffer, host: str, port: int) -> Buffer:
        """The wire bytes of one datagram, the first behind the request.

        Raises:
            LocalProtocolError: it is too long, or the host cannot be written.
        """
        size = len(data)
        if size > MAX_DATAGRAM:
            raise LocalProtocolError("uot-too-long", f"a datagram of {size} bytes")
        wire = self._request + encode_uot_address(host, port) + size.to_bytes(2, "big") + data
        self._request = b""
        return wire

    def feed_packets(self, data: Buffer) -> list[Packet]:
        """Take wire bytes; the datagrams completed by them.

        Raises:
            RemoteProtocolError: there is no address where one should be.
        """
        held = self._held
        held += data
        if len(held) < self._need:
            return []
        # Bytes, not views: what is handed out may be kept.
        wire = bytes(held)
        packets: list[Packet] = []
        at, size = 0, len(wire)
        self._need = 0
        while at < size:
            found = parse_uot_address(wire, at)
            if found is None or size < found[2] + 2:
                self._need = size - at + 1
                break
            host, port, start = found
            end = start + 2 + (wire[start] << 8 | wire[start + 1])
            if size < end:
                self._need = end - at
                break
            packets.append(Packet(wire[start + 2 : end], host, port))
            at = end
        self._held = bytearray(wire[at:])
        return packets

    def feed_eof(self) -> None:
        """The wire ended.

        Raises:
            RemoteProtocolError: within a datagram.
        """
        if self._held:
            raise RemoteProtocolError("uot-cut-short", "the wire ended within a datagram")
