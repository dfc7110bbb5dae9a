"""An inbound on loopback before a real tunnel, and clients that speak to it by hand."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from support.loopback import GIVE_UP_S, RelayRig, readable

from mihomo_tproxy.config.specs.listener import AccessSpec, ListenerSpec, ListenerType
from mihomo_tproxy.inbound.inbound import Inbound
from mihomo_tproxy.inbound.listener import open_tcp
from mihomo_tproxy.net.icmp import Unreachable
from mihomo_tproxy.outbound.reject import Reject

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

PORT = 7890
"""What the listener's port is in the file; the socket has one of its own."""


class InboundRig(RelayRig):
    """A RelayRig whose listener speaks HTTP, SOCKS or both; a context manager."""

    def __init__(
        self,
        kind: str = "mixed",
        *,
        access: AccessSpec | None = None,
        users: tuple[tuple[str, str], ...] | None = None,
        udp: bool = True,
        guarded: bool = True,
        proxy: str = "",
        host: str = "127.0.0.1",
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        super().__init__(*([loop_factory] if loop_factory else []))
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = open_tcp(family, host, 0)
        self.proxy_address = sock.getsockname()
        self.spec = ListenerSpec(
            "test", "test-in", ListenerType(kind), (host,), PORT, udp, users, guarded, proxy
        )
        self.inbound = Inbound(self.context, sock, self.tunnel, self.spec, access or AccessSpec())
        self.unreachable = Unreachable(self.reactor)
        self.outbounds.add(Reject(self.tracker, self.unreachable))

    def __enter__(self) -> InboundRig:
        super().__enter__()
        self.inbound.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.inbound.close()
        super().__exit__(*exc)
        self.unreachable.close()

    def client(self, first: bytes = b"") -> socket.socket:
        """A client that has said something."""
        address = self.proxy_address
        sock = self.keep(socket.create_connection(address[:2], timeout=GIVE_UP_S))
        if first:
            sock.sendall(first)
        return sock

    def expect(self, sock: socket.socket, words: bytes) -> None:
        """Exactly this comes next."""
        got = bytearray()
        while len(got) < len(words):
            self.turn_until(lambda: readable(sock))
            chunk = sock.recv(len(words) - len(got))
            assert chunk, bytes(got)
            got += chunk
        assert bytes(got) == words

    def read_until_end(self, sock: socket.socket) -> bytes:
        """Everything up to the end of the stream."""
        got = bytearray()
        while True:
            self.turn_until(lambda: readable(sock))
            chunk = sock.recv(1 << 16)
            if not chunk:
                return bytes(got)
            got += chunk

    def read_until(self, sock: socket.socket, end: bytes) -> bytes:
        """Everything up to and with `end`."""
        got = bytearray()
        while not got.endswith(end):
            self.turn_until(lambda: readable(sock))
            chunk = sock.recv(1)
            assert chunk, bytes(got)
            got += chunk
        return bytes(got)

    def accept(self) -> socket.socket:
        """The server's end of what the tunnel dialled."""
        self.turn_until(lambda: readable(self.server))
        server, _ = self.server.accept()
        server.settimeout(GIVE_UP_S)
        return self.keep(server)

    def wait_error(self, cause: str) -> None:
        """Something was counted."""
        self.turn_until(lambda: self.tracker.errors.get(cause, 0) > 0)

    @property
    def port(self) -> int:
        """Of the server."""
        return self.destination[1]
