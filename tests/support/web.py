"""A web server that a test scripts byte by byte, and an HTTP client of the keeper towards it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mihomo_tproxy.keeper.http import Client
from mihomo_tproxy.net.dial import Dialer
from mihomo_tproxy.net.pipes import PipePool
from mihomo_tproxy.net.reactor import Reactor
from mihomo_tproxy.net.relay import RelayContext, Timeouts
from mihomo_tproxy.net.resolve import SystemResolver
from mihomo_tproxy.net.tracker import Tracker
from mihomo_tproxy.outbound.direct import Direct

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    Answer = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


class Web:
    """One loopback server; `answer(head, writer)` is called for each request it gets."""

    def __init__(self, answer: Answer | bytes, tls: ssl.SSLContext | None = None) -> None:
        self._answer = answer
        self._tls = tls
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task] = set()
        self.requests: list[str] = []
        self.connections = 0

    async def __aenter__(self) -> Web:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}{path}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        self._tasks.add(asyncio.current_task())
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.requests.append(head)
                if isinstance(self._answer, bytes):
                    writer.write(self._answer)
                    await writer.drain()
                else:
                    await self._answer(head, writer)
                if writer.is_closing():
                    return
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._open.discard(writer)
            self._tasks.discard(asyncio.current_task())


class Names:
    """A resolver that knows one address for every name."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self._address = address

    def resolve(self, host, done) -> None:
        done((self._address,))


class KeeperSide:
    """Reactor, DIRECT and a client on the running loop."""

    def __init__(self, resolver: object | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.reactor = Reactor(self.loop)
        self.pipes = PipePool(limit=0)
        self.context = RelayContext(self.reactor, self.pipes, Tracker(), Timeouts())
        self.resolver = resolver or SystemResolver(self.loop)
        self.direct = Direct(self.context, Dialer(self.context, self.resolver))
        self.client = Client(self.context)

    async def __aenter__(self) -> KeeperSide:
        self.reactor.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.reactor.close()
        self.pipes.close()
        await asyncio.sleep(0)

    async def find(self, host: str, port: int) -> Direct:
        return self.direct

    async def fetch(self, url, headers=(), limits=None):
        """The head of the answer, and its body."""
        body = bytearray()
        response = await self.client.fetch(url, self.find, body.extend, headers, limits)
        return response, bytes(body)


def ok(body: bytes, *headers: str) -> bytes:
    """A plain 200."""
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body
