"""Dialling: a connecting socket towards an address, or the best of a name's addresses.

Several addresses race as RFC 8305 (happy eyeballs) says: families alternate, the next attempt
starts when the one before failed or took too long, the first connected socket wins. A literal, or
a name with one address, is dialled plainly, and the caller sees the connection succeed or fail.

`interface-name` (SO_BINDTODEVICE), `routing-mark` (SO_MARK) and `tfo` (TCP_FASTOPEN_CONNECT, Linux
4.11) are set when configured; see socket(7), tcp(7).
"""

from __future__ import annotations

import errno
from socket import (
    AF_INET,
    AF_INET6,
    IPPROTO_TCP,
    SO_BINDTODEVICE,
    SO_MARK,
    SOCK_DGRAM,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOL_SOCKET,
    TCP_SYNCNT,
    SocketType,
)
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.net.race import Race
from mihomo_tproxy.net.sockopt import (
    TCP_FASTOPEN_CONNECT,
    cause_of,
    is_literal,
    socket_address,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from mihomo_tproxy.net.reactor import Reactor
    from mihomo_tproxy.net.relay import RelayContext
    from mihomo_tproxy.net.resolve import Resolved, Resolver
    from mihomo_tproxy.net.sockopt import SocketAddress

    Dialled = Callable[[SocketType | None, str], object]

RACE_LIMIT: Final = 8
"""Addresses of one name that are tried."""
_ONLY: Final = {"ipv4": AF_INET6, "ipv6": AF_INET}
"""`ip-version` -> the family it bars."""
FAST_OPEN_SYNS: Final = 3
"""Repetitions of a SYN with data: such a dial counts as connected, so nobody else gives it up.
4 s since Linux 6.5, 15 s before (tcp_syn_linear_timeouts)."""
_STREAM: Final = SOCK_STREAM | SOCK_NONBLOCK
_DATAGRAM: Final = SOCK_DGRAM | SOCK_NONBLOCK


class Dialer:
    """Makes sockets with the options of one outbound."""

    __slots__ = (
        "_barred",
        "_bound",
        "_context",
        "_device",
        "_mark",
        "_prefer",
        "_resolver",
        "_tfo",
    )

    def __init__(
        self,
        context: RelayContext,
        resolver: Resolver,
        interface_name: str = "",
        routing_mark: int = 0,
        ip_version: str = "dual",
        *,
        tfo: bool = False,
    ) -> None:
        """`tfo` is for those who speak first: without a first byte nothing is sent at all."""
        self._context = context
        self._resolver = resolver
        self._device = interface_name.encode() + b"\0" if interface_name else b""
        self._mark = routing_mark
        self._tfo = tfo
        self._bound = bool(interface_name or routing_mark or tfo)
        self._barred = _ONLY.get(ip_version, 0)
        self._prefer = AF_INET if ip_version == "ipv4-prefer" else 0
        if ip_version == "ipv6-prefer":
            self._prefer = AF_INET6

    @property
    def reactor(self) -> Reactor:
        """Where the sockets are watched."""
        return self._context.reactor

    def connect(self, address: SocketAddress, *, racing: bool = False) -> SocketType:
        """A socket that is connecting to an IP address.

        One that races really connects: fast open would call any address connected.

        Raises:
            OSError: no descriptor, no route, the family is barred, or no such interface.
        """
        family = AF_INET if len(address) == 2 else AF_INET6
        if family == self._barred:
            raise OSError(errno.ENETUNREACH, "barred by ip-version")
        sock = SocketType(family, _STREAM, 0)
        try:
            if self._bound:
                self._bind(sock, racing)
            code = sock.connect_ex(address)
            if code and code != errno.EINPROGRESS:
                raise OSError(code, "connect")
        except OSError:
            sock.close()
            raise
        return sock

    def dial(self, host: str, port: int, done: Dialled) -> None:
        """Call `done` with a connecting or connected socket, or None and why there is none.

        For a literal, and a name that is known already, it is called before this returns.
        """
        if is_literal(host):
            self._connect_to(host, port, done)
        else:
            self._resolver.resolve(host, lambda found: self._dial_found(found, port, done))

    def resolve(self, host: str, done: Callable[[Resolved], object]) -> None:
        """Call `done` with a name's addresses in the order they are to be tried."""
        self._resolver.resolve(host, lambda found: done(self.arrange(found)))

    def arrange(self, addresses: Resolved) -> Resolved:
        """The addresses `ip-version` allows, families alternating, the preferred one first."""
        v4 = [host for host in addresses if ":" not in host and self._barred != AF_INET]
        v6 = [host for host in addresses if ":" in host and self._barred != AF_INET6]
        first, second = (v6, v4) if addresses and ":" in addresses[0] else (v4, v6)
        if self._prefer:
            first, second = (v4, v6) if self._prefer == AF_INET else (v6, v4)
        mixed = [host for pair in zip(first, second, strict=False) for host in pair]
        return tuple(mixed + first[len(second) :] + second[len(first) :])

    def packet_socket(self, family: int) -> SocketType:
        """An unbound datagram socket with these options.

        Raises:
            OSError: no descriptor, the family is barred, or the interface does not exist.
        """
        if family == self._barred:
            raise OSError(errno.ENETUNREACH, "barred by ip-version")
        sock = SocketType(family, _DATAGRAM, 0)
        try:
            if self._mark:
                sock.setsockopt(SOL_SOCKET, SO_MARK, self._mark)
            if self._device:
                sock.setsockopt(SOL_SOCKET, SO_BINDTODEVICE, self._device)
        except OSError:
            sock.close()
            raise
        return sock

    def _dial_found(self, found: Resolved, port: int, done: Dialled) -> None:
        if not found:
            done(None, "dial-name")
            return
        addresses = self.arrange(found)[:RACE_LIMIT]
        if len(addresses) > 1:
            Race(self, self._context.timeouts.connect, addresses, port, done).start()
        elif addresses:
            self._connect_to(addresses[0], port, done)
        else:
            done(None, "dial-unreachable")

    def _connect_to(self, host: str, port: int, done: Dialled) -> None:
        try:
            sock = self.connect(socket_address(host, port))
        except OSError as error:
            done(None, cause_of(error.errno, "dial"))
            return
        done(sock, "")

    def _bind(self, sock: SocketType, racing: bool) -> None:
        if self._mark:
            sock.setsockopt(SOL_SOCKET, SO_MARK, self._mark)
        if self._device:
            sock.setsockopt(SOL_SOCKET, SO_BINDTODEVICE, self._device)
        if self._tfo and not racing:
            sock.setsockopt(IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
            sock.setsockopt(IPPROTO_TCP, TCP_SYNCNT, FAST_OPEN_SYNS)
