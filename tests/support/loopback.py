"""A relay on loopback, without privileges: where a client wanted to go is told by the test."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING

import pytest
import uvloop

from mihomo_tproxy.inbound.listener import open_tcp
from mihomo_tproxy.inbound.tproxy import TcpListener
from mihomo_tproxy.model.metadata import Decision
from mihomo_tproxy.net.dial import Dialer
from mihomo_tproxy.net.pipes import PipePool
from mihomo_tproxy.net.reactor import Reactor
from mihomo_tproxy.net.relay import RelayContext, Timeouts
from mihomo_tproxy.net.resolve import SystemResolver
from mihomo_tproxy.net.tracker import Tracker
from mihomo_tproxy.outbound.direct import Direct
from mihomo_tproxy.outbound.registry import OutboundRegistry
from mihomo_tproxy.tunnel.tunnel import Tunnel

if TYPE_CHECKING:
    from collections.abc import Callable

    from mihomo_tproxy.model.metadata import Metadata

GIVE_UP_S = 20.0
"""A condition that has not come true by then never will."""

both_loops = pytest.mark.parametrize(
    "loop_factory", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"]
)


class Clock:
    """Real time plus what the test adds."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


class FixedEngine:
    """Every flow meets the same decision, unless its destination port has one of its own."""

    fields = 0

    def __init__(self, target: str = "DIRECT", depends: int = 0) -> None:
        self.decision = Decision(target, -1, depends)
        self.by_port: dict[int, str] = {}
        self.asked: list[Metadata] = []

    def match(self, metadata: Metadata) -> Decision:
        self.asked.append(metadata)
        target = self.by_port.get(metadata.destination_port)
        return Decision(target, -1, 0) if target else self.decision

    def match_usable(self, metadata: Metadata, usable: Callable[[str], bool]) -> Decision:
        return self.match(metadata)


class RelayRig:
    """Loop, reactor, tunnel and a TCP listener; a context manager."""

    def __init__(
        self,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
        pipe_limit: int = 64,
        timeouts: Timeouts | None = None,
        flow_limit: int = 4096,
    ) -> None:
        self.loop = loop_factory()
        self.clock = Clock()
        self.reactor = Reactor(self.loop, self.clock)
        self.tracker = Tracker()
        self.pipes = PipePool(limit=pipe_limit)
        self.context = RelayContext(self.reactor, self.pipes, self.tracker, timeouts or Timeouts())
        self.engine = FixedEngine()
        self.resolver = SystemResolver(self.loop)
        self.outbounds = OutboundRegistry([self.direct("DIRECT", kernel=True)])
        self.tunnel = Tunnel(
            self.context, self.resolver, self.engine, self.outbounds, flow_limit=flow_limit
        )
        self.server = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.server.settimeout(GIVE_UP_S)
        self.destination: tuple[str, int] = self.server.getsockname()
        listening = open_tcp(socket.AF_INET, "127.0.0.1", 0, transparent=False)
        self.address: tuple[str, int] = listening.getsockname()
        self.listener = TcpListener(
            self.reactor, listening, self.tunnel, self.tracker, lambda client: self.destination
        )
        self._open: list[socket.socket] = [self.server]

    def direct(self, name: str, *, kernel: bool = False, udp: bool = True, **options) -> Direct:
        """A DIRECT outbound; `options` are the dialer's."""
        dialer = Dialer(self.context, self.resolver, **options)
        return Direct(self.context, dialer, name, kernel=kernel, udp=udp)

    def __enter__(self) -> RelayRig:
        self.listener.start()
        self.reactor.start()
        return self

    def __exit__(self, *exc: object) -> None:
        for sock in self._open:
            sock.close()
        self.tunnel.close()
        self.reactor.close()
        self.pipes.close()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()

    def keep(self, sock: socket.socket) -> socket.socket:
        """Close the socket when the rig ends."""
        self._open.append(sock)
        return sock

    def connect(self) -> socket.socket:
        """A client whose connection is in the relay's hands or on the way there."""
        return self.keep(socket.create_connection(self.address, timeout=GIVE_UP_S))

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """A client and the server's end of its relayed connection."""
        client = self.connect()
        self.turn_until(lambda: readable(self.server))
        server, _ = self.server.accept()
        server.settimeout(GIVE_UP_S)
        self.keep(server)
        self.turn()
        return client, server

    def turn(self, seconds: float = 0.0) -> None:
        """Let the loop run once, or for a while."""
        self.loop.run_until_complete(asyncio.sleep(seconds))

    def turn_until(self, condition: Callable[[], bool]) -> None:
        """Let the loop run until something is so."""
        end = time.monotonic() + GIVE_UP_S
        while not condition():
            if time.monotonic() > end:
                raise AssertionError("the relay never got there")
            self.turn(0.001)

    def in_thread(self, work: Callable[[], object]) -> None:
        """Let the loop run while blocking socket work is done in a thread."""
        self.loop.run_until_complete(self.loop.run_in_executor(None, work))

    def later(self, seconds: float) -> None:
        """Let time pass at once, and let the reactor notice."""
        self.clock.ahead += seconds
        self.reactor.sweep(0, 1 << 20)


def readable(sock: socket.socket) -> bool:
    """Whether a read, or an accept, would not block."""
    import select

    return bool(select.select([sock], [], [], 0)[0])


def receive_all(sock: socket.socket) -> bytes:
    """Everything until end of stream."""
    data = bytearray()
    while chunk := sock.recv(1 << 16):
        data += chunk
    return bytes(data)
