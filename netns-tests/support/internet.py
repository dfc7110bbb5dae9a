"""An event loop inside a node, for servers that a test drives while they run.

    with Internet(rig.internet) as internet:
        web = internet.web(80)
        proxies = internet.socks("a", "b")

What the servers are told by plain attributes counts for the next connection.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Protocol

from support.socks import Socks
from support.webserver import Web

if TYPE_CHECKING:
    import ssl
    from collections.abc import Coroutine
    from types import TracebackType

    from mihomo_tproxy.rig import Node

ADDRESS = "198.51.100.{}"
WEB = ADDRESS.format(80)
"""Where the web servers are."""
FIRST_PROXY = 101
PROXY_PORT = 1080
WAIT_S = 10.0


class Server(Protocol):
    """What runs on the loop."""

    async def start(self) -> None:
        """Listens when this returns."""

    async def stop(self) -> None:
        """Ends every connection."""


class Internet:
    """The servers of one node, on a thread that lives in it."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._servers: list[Server] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="internet", daemon=True)

    def socks(self, *names: str) -> dict[str, Socks]:
        """Proxies by name; each has an address of its own, and its flows leave from there."""
        proxies = {}
        for name in names:
            number = sum(isinstance(server, Socks) for server in self._servers)
            proxies[name] = Socks(name, ADDRESS.format(FIRST_PROXY + number), PROXY_PORT)
            self._start(proxies[name])
        return proxies

    def web(self, port: int, tls: ssl.SSLContext | None = None) -> Web:
        """A web server at WEB."""
        web = Web(WEB, port, tls)
        self._start(web)
        return web

    def _start(self, server: Server) -> None:
        self._servers.append(server)
        self._call(server.start())

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_S)

    def _run(self) -> None:
        with self._node.enter():
            self._loop.run_forever()

    def __enter__(self) -> Internet:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for server in self._servers:
            self._call(server.stop())
        self._call(_cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_S)
        self._loop.close()


async def _cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
