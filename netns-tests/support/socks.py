"""A SOCKS5 proxy (RFC 1928) that a test makes slow, or has die, while it runs.

Its flows leave from its own address, so that whoever they reach sees which proxy it was.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import closing
from ipaddress import IPv4Address
from typing import Any

CONNECT, ASSOCIATE = 1, 3
OK = b"\5\0\0\1"
NOWHERE = b"\0\0\0\0\0\0"
PIECE = 65_536


class Socks:
    """One proxy, IPv4."""

    def __init__(self, name: str, address: str, port: int) -> None:
        self.name = name
        self.address = address
        self.port = port
        self.delay_s = 0.0
        """How long it thinks about a request."""
        self.alive = True
        """Whether it takes connections; what it carries already goes on."""
        self.asked: list[tuple[str, int]] = []
        """Where it was to go, by TCP."""
        self._server: asyncio.Server

    def entry(self, **options: Any) -> dict[str, Any]:
        """Its entry of `proxies`; `_` in the name of an option stands for `-`."""
        more = {key.replace("_", "-"): value for key, value in options.items()}
        server = {"server": self.address, "port": self.port}
        return {"name": self.name, "type": "socks5", **server, "udp": True, **more}

    async def start(self) -> None:
        """Listens when this returns."""
        self._server = await asyncio.start_server(self._serve, self.address, self.port)

    async def stop(self) -> None:
        """Listens no more."""
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.alive:
                await self._negotiate(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    async def _negotiate(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, methods = await reader.readexactly(2)
        await reader.readexactly(methods)
        writer.write(b"\5\0")
        _, command, _, kind = await reader.readexactly(4)
        host = await _read_host(reader, kind)
        (port,) = struct.unpack("!H", await reader.readexactly(2))
        await asyncio.sleep(self.delay_s)
        if command == CONNECT:
            self.asked.append((host, port))
            await self._carry(host, port, reader, writer)
        elif command == ASSOCIATE:
            await self._associate(reader, writer)

    async def _carry(
        self, host: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            there = await asyncio.open_connection(host, port, local_addr=(self.address, 0))
        except OSError:
            writer.write(b"\5\5\0\1" + NOWHERE)
            return
        writer.write(OK + NOWHERE)
        with closing(there[1]):
            await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))

    async def _associate(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        inner = _Inner(self.address)
        transport, _ = await loop.create_datagram_endpoint(
            lambda: inner, local_addr=(self.address, 0)
        )
        outer, _ = await loop.create_datagram_endpoint(
            lambda: _Outer(inner), local_addr=(self.address, 0)
        )
        inner.outer = outer
        with closing(transport), closing(outer):
            port = transport.get_extra_info("sockname")[1]
            writer.write(OK + IPv4Address(self.address).packed + struct.pack("!H", port))
            await reader.read()


class _Inner(asyncio.DatagramProtocol):
    """Faces the client of an association."""

    outer: asyncio.DatagramTransport

    def __init__(self, address: str) -> None:
        self.address = address
        self.client: Any = None
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.client = addr
        if data[:4] == b"\0\0\0\1":
            (port,) = struct.unpack("!H", data[8:10])
            self.outer.sendto(data[10:], (str(IPv4Address(data[4:8])), port))


class _Outer(asyncio.DatagramProtocol):
    """Faces the servers of an association."""

    def __init__(self, inner: _Inner) -> None:
        self._inner = inner

    def datagram_received(self, data: bytes, addr: Any) -> None:
        head = b"\0\0\0\1" + IPv4Address(addr[0]).packed + struct.pack("!H", addr[1])
        self._inner.transport.sendto(head + data, self._inner.client)


async def _read_host(reader: asyncio.StreamReader, kind: int) -> str:
    if kind == 3:
        (length,) = await reader.readexactly(1)
        return (await reader.readexactly(length)).decode()
    family, size = (socket.AF_INET6, 16) if kind == 4 else (socket.AF_INET, 4)
    return socket.inet_ntop(family, await reader.readexactly(size))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(PIECE):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
