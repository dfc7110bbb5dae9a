"""Real sockets on addresses of others, in a namespace where every address is local."""

from __future__ import annotations

import socket
from struct import pack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

IPV6_TRANSPARENT = 75
SO_LINGER_NOW = pack("ii", 1, 0)
PATIENCE_S = 5.0
ETH_P_ALL = 0x0003
SYNCOOKIES = "/proc/sys/net/ipv4/tcp_syncookies"


def _transparent(address: str, kind: int) -> socket.socket:
    v6 = ":" in address
    sock = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, kind)
    if v6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TRANSPARENT, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.settimeout(PATIENCE_S)
    return sock


def datagram_socket(local: tuple[str, int], remote: tuple[str, int] | None) -> socket.socket:
    """A UDP socket on a foreign address, connected to `remote` if there is one."""
    sock = _transparent(local[0], socket.SOCK_DGRAM)
    sock.bind(local)
    if remote:
        sock.connect(remote)
    return sock


class Connection:
    """A TCP connection from one foreign address to another; the accepted end is "ours"."""

    def __init__(self, client: str, server: str) -> None:
        with _transparent(server, socket.SOCK_STREAM) as listener:
            listener.bind((server, 0))
            listener.listen(1)
            self._client = _transparent(client, socket.SOCK_STREAM)
            self._client.bind((client, 0))
            self._client.connect(listener.getsockname()[:2])
            self._ours = listener.accept()[0]
        self.ports = (self._client.getsockname()[1], self._ours.getsockname()[1])

    def leave_time_wait(self) -> None:
        """Close both ends, ours first: it stays in TIME_WAIT."""
        self._ours.shutdown(socket.SHUT_WR)
        assert self._client.recv(1) == b""
        self._client.shutdown(socket.SHUT_WR)
        assert self._ours.recv(1) == b""
        self._ours.close()
        self._client.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for sock in (self._client, self._ours):
            if sock.fileno() >= 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, SO_LINGER_NOW)
                sock.close()
