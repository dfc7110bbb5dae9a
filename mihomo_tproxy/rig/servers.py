"""The program behind `serving.Servers`: every built-in server in one asyncio process.

    python -m mihomo_tproxy.rig.servers

It prints `ready` when all ports of `serving.PORTS` are open on the wildcard address of both
families.
Every connection ends after IDLE_S without progress, except those of `stall`, whose point it is to
sit still; those end with the process.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import socket
import struct
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from mihomo_tproxy.rig.serving import BANNER, BLOCK, FAREWELL, PORTS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

IDLE_S = 300.0
BACKLOG = 4096
MAX_REQUEST_BYTES = 64 * 1024
MAX_BODY_BYTES = 16 * 1024 * 1024
CHUNK = 262_144

_IPV6_PKTINFO = struct.Struct("=16si")
_PATTERN_LIMIT = 1 << 40


async def _send_pattern(writer: asyncio.StreamWriter, count: int) -> None:
    while count > 0:
        writer.write(BLOCK if count >= len(BLOCK) else BLOCK[:count])
        count -= len(BLOCK)
        await writer.drain()


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


async def _discard(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    while await reader.read(CHUNK):
        pass


async def _chargen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _send_pattern(writer, min(int(await reader.readline()), _PATTERN_LIMIT))


async def _sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    digest, count = hashlib.sha256(), 0
    while data := await reader.read(CHUNK):
        digest.update(data)
        count += len(data)
    writer.write(f"{count} {digest.hexdigest()}\n".encode())


_stalled: set[asyncio.Task[None] | None] = set()
"""Those who sit still. The loop knows tasks only weakly: one that waits for nobody else, on a
connection that is not read, would be garbage to the collector."""


async def _stall(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    task = asyncio.current_task()
    _stalled.add(task)
    try:
        await asyncio.Event().wait()
    finally:
        _stalled.discard(task)


async def _reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _reset_later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    await _reset(reader, writer)


async def _banner(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(BANNER)
    await _echo(reader, writer)


async def _farewell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(FAREWELL)
    writer.write_eof()
    await _discard(reader, writer)


async def _http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return
        request, *lines = head.decode("latin-1").split("\r\n")
        headers = {k.strip().lower(): v.strip() for k, _, v in (x.partition(":") for x in lines)}
        method, target, *_ = [*request.split(" "), "", ""]
        length = min(int(headers.get("content-length") or 0), MAX_BODY_BYTES)
        body = await reader.readexactly(length)
        await _answer(writer, method, target, body)
        if headers.get("connection", "").lower() == "close" or request.endswith("1.0"):
            return


async def _answer(writer: asyncio.StreamWriter, method: str, target: str, body: bytes) -> None:
    status, count, payload = "200 OK", 0, b""
    number = target.removeprefix("/bytes/")
    if number != target and number.isdigit():
        count = min(int(number), _PATTERN_LIMIT)
    elif target == "/echo":
        payload = body
    elif target == "/peer":
        payload = _endpoint(writer.get_extra_info("peername"))
    elif target == "/":
        payload = b"hello\n"
    else:
        status, payload = "404 Not Found", b"no such page\n"
    size = count + len(payload)
    kind = "text/plain" if payload else "application/octet-stream"
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\n\r\n"
    writer.write(head.encode() if method == "HEAD" else head.encode() + payload)
    if method != "HEAD":
        await _send_pattern(writer, count)
    await writer.drain()


SERVICES: dict[str, Handler] = {
    "http": _http,
    "echo": _echo,
    "discard": _discard,
    "chargen": _chargen,
    "sink": _sink,
    "stall": _stall,
    "reset": _reset,
    "reset-later": _reset_later,
    "banner": _banner,
    "farewell": _farewell,
}


def _guarded(handler: Handler) -> Handler:
    """Peers do what they like in tests: any end of a connection is fine; each is closed."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            limit = None if handler is _stall else IDLE_S
            await asyncio.wait_for(handler(reader, writer), limit)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            writer.transport.abort()
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    return serve


def _endpoint(peer: tuple[str, int]) -> bytes:
    """`ADDRESS PORT`; a mapped IPv4 address as IPv4."""
    return f"{peer[0].removeprefix('::ffff:')} {peer[1]}".encode()


def _mapped(address: str) -> str:
    return address if ":" in address else f"::ffff:{address}"


def _udp_socket(port: int, address: str = "::") -> socket.socket:
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
    sock.setblocking(False)
    sock.bind((_mapped(address), port))
    return sock


def _serve_udp(
    sock: socket.socket, reply: Callable[[bytes, tuple[str, int]], bytes | None]
) -> None:
    """Answers each datagram from the address it was sent to; None says nothing."""
    try:
        while True:
            data, control, _, peer = sock.recvmsg(65_536, 128)
            answer = reply(data, peer)
            if answer is not None:
                source = [c for c in control if c[:2] == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO)]
                sock.sendmsg(
                    [answer], [(*c[:2], _without_interface(c[2])) for c in source], 0, peer
                )
    except BlockingIOError:
        pass
    except OSError:
        # A port unreachable that came back for an earlier answer, or a full buffer: UDP loses.
        pass


def _without_interface(packet_info: bytes) -> bytes:
    """The answer may leave by another interface than the one the question came by."""
    address, _ = _IPV6_PKTINFO.unpack_from(packet_info)
    return _IPV6_PKTINFO.pack(address, 0)


def _stun(data: bytes, peer: tuple[str, int]) -> bytes | None:
    """The sender as seen here; sent from elsewhere when asked for."""
    answer = _endpoint(peer)
    words = data.decode("ascii", "replace").split()
    if words[:1] != ["from"]:
        return answer
    with suppress(OSError, ValueError, IndexError), _udp_socket(int(words[2]), words[1]) as other:
        other.sendto(answer, peer)
    return None


async def _main() -> None:
    loop = asyncio.get_running_loop()
    finished = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, finished.set)
    servers = []
    for name, handler in SERVICES.items():
        listener = socket.create_server(
            ("::", PORTS[name]), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG
        )
        serve = _guarded(handler)
        servers.append(
            await asyncio.start_server(
                serve, sock=listener, limit=MAX_REQUEST_BYTES, backlog=BACKLOG
            )
        )
    for name, reply in (("echo", lambda data, _peer: data), ("stun", _stun)):
        sock = _udp_socket(PORTS[name])
        loop.add_reader(sock.fileno(), _serve_udp, sock, reply)
    os.write(1, b"ready\n")
    await finished.wait()


if __name__ == "__main__":
    asyncio.run(_main())
    sys.exit(0)
