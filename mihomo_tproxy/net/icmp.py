"""ICMP port unreachable, sent as if the destination itself had answered.

IPv4: type 3 code 3 (RFC 792), quoting the offending IP header and eight bytes of its payload.
IPv6: type 1 code 4 (RFC 4443, 3.1), quoting as much.

    [ IP header: src = destination, dst = client ][ ICMP, 8 bytes ][ quoted IP ][ quoted UDP, 8 ]

The datagram came through a UDP socket, so the quoted headers are rebuilt: a client's kernel finds
its socket by their addresses and ports, and looks at nothing else. Answers are rate-limited by a
token bucket, as RFC 4443 2.4(f) demands.
"""

from __future__ import annotations

import struct
from socket import (
    AF_INET,
    AF_INET6,
    IPPROTO_ICMP,
    IPPROTO_ICMPV6,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPPROTO_RAW,
    IPPROTO_UDP,
    SOCK_NONBLOCK,
    SOCK_RAW,
    SocketType,
    inet_pton,
)
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.net.sockopt import IPV6_HDRINCL

if TYPE_CHECKING:
    from mihomo_tproxy.net.reactor import Reactor
    from mihomo_tproxy.net.sockopt import SocketAddress

RATE_PER_S: Final = 200.0
BURST: Final = 100.0
IP_HDRINCL: Final = 3
_TTL: Final = 64


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _v4_header(source: bytes, target: bytes, protocol: int, payload: int) -> bytes:
    head = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 20 + payload, 0, 0, _TTL, protocol, 0, source, target
    )
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:]


def _v6_header(source: bytes, target: bytes, protocol: int, payload: int) -> bytes:
    return struct.pack(">IHBB16s16s", 6 << 28, payload, protocol, _TTL, source, target)


def port_unreachable(client: SocketAddress, destination: SocketAddress, size: int) -> bytes:
    """The whole IP packet that tells `client` its datagram of `size` bytes found no listener."""
    udp = struct.pack(">HHHH", client[1], destination[1], (8 + size) & 0xFFFF, 0)
    if len(client) == 2:
        near, far = inet_pton(AF_INET, client[0]), inet_pton(AF_INET, destination[0])
        quoted = _v4_header(near, far, IPPROTO_UDP, 8 + size) + udp
        body = struct.pack(">BBHI", 3, 3, 0, 0) + quoted
        body = body[:2] + struct.pack(">H", checksum(body)) + body[4:]
        return _v4_header(far, near, IPPROTO_ICMP, len(body)) + body
    near = inet_pton(AF_INET6, client[0].partition("%")[0])
    far = inet_pton(AF_INET6, destination[0].partition("%")[0])
    quoted = _v6_header(near, far, IPPROTO_UDP, (8 + size) & 0xFFFF) + udp
    body = struct.pack(">BBHI", 1, 4, 0, 0) + quoted
    pseudo = far + near + struct.pack(">II", len(body), IPPROTO_ICMPV6)
    body = body[:2] + struct.pack(">H", checksum(pseudo + body)) + body[4:]
    return _v6_header(far, near, IPPROTO_ICMPV6, len(body)) + body


class Unreachable:
    """Sends port unreachables, a limited number per second, from raw sockets of its own."""

    def __init__(self, reactor: Reactor, rate_per_s: float = RATE_PER_S) -> None:
        self.sent = 0
        self.suppressed = 0
        """Not sent: over the rate, or refused by the kernel."""
        self._reactor = reactor
        self._rate = rate_per_s
        self._tokens = BURST
        self._filled = reactor.now
        self._sockets: dict[int, SocketType] = {}

    def send(self, client: SocketAddress, destination: SocketAddress, size: int) -> None:
        """Answer a datagram of `size` payload bytes, if the rate allows. Never raises OSError."""
        now = self._reactor.now
        self._tokens = min(BURST, self._tokens + (now - self._filled) * self._rate)
        self._filled = now
        if self._tokens < 1:
            self.suppressed += 1
            return
        self._tokens -= 1
        target = (client[0], 0) if len(client) == 2 else (client[0], 0, 0, client[3])
        try:
            packet = port_unreachable(client, destination, size)
            self._socket(AF_INET if len(client) == 2 else AF_INET6).sendto(packet, target)
        except OSError:
            self.suppressed += 1
            return
        self.sent += 1

    def close(self) -> None:
        """Close the raw sockets."""
        for sock in self._sockets.values():
            sock.close()
        self._sockets.clear()

    def _socket(self, family: int) -> SocketType:
        sock = self._sockets.get(family)
        if sock is None:
            sock = SocketType(family, SOCK_RAW | SOCK_NONBLOCK, IPPROTO_RAW)
            try:
                if family == AF_INET:
                    sock.setsockopt(IPPROTO_IP, IP_HDRINCL, 1)
                else:
                    sock.setsockopt(IPPROTO_IPV6, IPV6_HDRINCL, 1)
            except OSError:
                sock.close()
                raise
            self._sockets[family] = sock
        return sock
