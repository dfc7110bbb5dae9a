"""Socket options of the flow path, with the Linux numbers Python's socket module lacks.

See ip(7), ipv6(7), tcp(7), udp(7). What an accepted socket inherits from its listener (TCP_NODELAY,
SO_KEEPALIVE and its intervals) is set there once, and costs the flows nothing.
"""

from __future__ import annotations

import errno
import struct
from socket import (
    AF_INET,
    AF_INET6,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPPROTO_TCP,
    IPV6_V6ONLY,
    SO_KEEPALIVE,
    SO_LINGER,
    SO_REUSEADDR,
    SOCK_DGRAM,
    SOCK_NONBLOCK,
    SOL_SOCKET,
    TCP_KEEPCNT,
    TCP_KEEPIDLE,
    TCP_KEEPINTVL,
    SocketType,
    inet_pton,
)
from typing import Any, Final

IP_TRANSPARENT: Final = 19
IP_RECVORIGDSTADDR: Final = 20
IPV6_RECVORIGDSTADDR: Final = 74
IPV6_TRANSPARENT: Final = 75
IPV6_HDRINCL: Final = 36
TCP_FASTOPEN_CONNECT: Final = 30

KEEPALIVE_IDLE_S: Final = 120
KEEPALIVE_INTERVAL_S: Final = 30
KEEPALIVE_PROBES: Final = 4

LINGER_ZERO: Final = struct.pack("ii", 1, 0)

SocketAddress = tuple[Any, ...]
"""(host, port) or (host, port, flow, scope): what the socket module takes and gives."""


def set_transparent(sock: SocketType, family: int) -> None:
    """Allow foreign local addresses. Raises PermissionError without CAP_NET_ADMIN."""
    if family == AF_INET6:
        sock.setsockopt(IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
    else:
        sock.setsockopt(IPPROTO_IP, IP_TRANSPARENT, 1)


def set_keepalive(sock: SocketType) -> None:
    """Probe a silent peer, so that a flow whose peer vanished ends."""
    sock.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)
    sock.setsockopt(IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
    sock.setsockopt(IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
    sock.setsockopt(IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES)


def reset_on_close(sock: SocketType) -> None:
    """Make the coming close send RST instead of FIN, discarding what is queued."""
    try:
        sock.setsockopt(SOL_SOCKET, SO_LINGER, LINGER_ZERO)
    except OSError:
        pass  # the kernel already took the connection down


def open_reply(local: SocketAddress, peer: SocketAddress) -> SocketType:
    """A UDP socket that speaks as `local`, an address that need not be ours, to `peer` only.

    The kernel finds it by the full 4-tuple, before any listener. Several of them share `local`.
    The kernel may queue datagrams of anyone that it looked up between bind and connect, also a
    moment after this returns: read the sender of those.

    Raises:
        OSError: no descriptor, no privilege, or the address is taken by a socket of this host.
    """
    family = AF_INET if len(local) == 2 else AF_INET6
    sock = SocketType(family, SOCK_DGRAM | SOCK_NONBLOCK, 0)
    try:
        sock.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        set_transparent(sock, family)
        if family == AF_INET6:
            sock.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 1)
        sock.bind(local)
        sock.connect(peer)
    except BaseException:
        sock.close()
        raise
    return sock


def socket_address(host: str, port: int) -> SocketAddress:
    """An IP literal or name and a port, as the socket module writes them."""
    return (host, port, 0, 0) if ":" in host else (host, port)


def is_literal(host: str) -> bool:
    """Whether a host is an IP address and no name."""
    try:
        inet_pton(AF_INET6 if ":" in host else AF_INET, host.partition("%")[0])
    except (OSError, ValueError):
        return False
    return True


_CAUSES: Final = {
    errno.ECONNREFUSED: "refused",
    errno.ETIMEDOUT: "timeout",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTUNREACH: "unreachable",
    errno.EADDRNOTAVAIL: "no-source-port",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.EMFILE: "no-descriptor",
    errno.ENFILE: "no-descriptor",
    errno.EACCES: "not-permitted",
    errno.EPERM: "not-permitted",
    errno.ENOBUFS: "no-memory",
    errno.ENOMEM: "no-memory",
}


def cause_of(code: int | None, prefix: str) -> str:
    """The counter a failed call goes under: `dial-refused`, `accept-no-descriptor`, ..."""
    return f"{prefix}-{_CAUSES.get(code or 0, errno.errorcode.get(code or 0, 'error').lower())}"
