"""A web server whose every answer a test decides, the bad ones as well."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

ENDLESS_PIECE = bytes(65_536)
PAUSE_S = 0.01
"""After each of them: tens of megabytes take seconds."""


@dataclass
class Answer:
    """What is answered to GET or HEAD of one path."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    endless: bool = False
    """Whether zeros follow for as long as somebody reads."""
    cut: bool = False
    """Whether the connection ends where the body is over, whatever the headers promised."""

    @property
    def etag(self) -> str:
        """What makes a conditional request be answered with 304; "" for nothing."""
        return self.headers.get("ETag", "")


@dataclass
class Request:
    """What somebody asked."""

    method: str
    path: str
    headers: dict[str, str]
    peer: str
    status: int
    """Of the answer."""


class Web:
    """One server."""

    def __init__(self, address: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._address, self._port, self._tls = address, port, tls
        self._answers: dict[str, Answer] = {"/204": Answer(status=204)}
        self._requests: list[Request] = []
        self._lock = threading.Lock()
        self._server: asyncio.Server

    def url(self, path: str) -> str:
        """The URL of a path."""
        return f"http{'s' if self._tls else ''}://{self._address}:{self._port}{path}"

    def put(self, path: str, body: bytes | str = b"", **answer: object) -> str:
        """From now on this is answered; the URL."""
        data = body.encode() if isinstance(body, str) else body
        with self._lock:
            self._answers[path] = Answer(data, **answer)  # type: ignore[arg-type]
        return self.url(path)

    def requests(self, path: str) -> list[Request]:
        """What was asked of a path so far."""
        with self._lock:
            return [request for request in self._requests if request.path == path]

    async def start(self) -> None:
        """Listens when this returns."""
        self._server = await asyncio.start_server(
            self._serve, self._address, self._port, ssl=self._tls
        )

    async def stop(self) -> None:
        """Listens no more."""
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._answer(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether another may follow."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ", 2)
        pairs = (line.split(":", 1) for line in head[1:] if line)
        headers = {name.lower(): value.strip() for name, value in pairs}
        with self._lock:
            answer = self._answers.get(path.partition("?")[0], Answer(b"nothing here", 404))
            known = answer.etag and headers.get("if-none-match") == answer.etag
            status = 304 if known else answer.status
            peer = writer.get_extra_info("peername")[0]
            self._requests.append(Request(method, path, headers, peer, status))
        body = b"" if status in (204, 304) else answer.body
        lines = [f"HTTP/1.1 {status} Answer"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        if answer.endless:
            lines.append("Connection: close")
        elif status not in (204, 304) and not answer.cut:
            lines.append(f"Content-Length: {len(body)}")
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        if method != "HEAD":
            writer.write(body)
        while answer.endless:
            writer.write(ENDLESS_PIECE)
            await writer.drain()
            await asyncio.sleep(PAUSE_S)
        await writer.drain()
        return not answer.cut
