"""The clients of the differential test: flows by SOCKS5, HTTP CONNECT, or steered, all at once.

A flow says one line (a datagram holds one word) and waits for an answer. Flows of one client run
concurrently on one event loop in the client's namespace, on a thread of its own; each ends with a
reset, so that its source port is free for the next program at once.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from support.differential.flow import DROPPED, ENDED, STEERED, Flow, Outcome
from support.differential.internet import read_address
from support.differential.programs import LISTENERS, PASSWORDS
from support.traffic import LINGER_ZERO

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from mihomo_tproxy.rig import Rig

ANSWER_S: Final = 3.0
SILENCE_S: Final = 1.0
"""How long a flow is listened to that is expected to get no answer."""
AT_ONCE: Final = 32


def run_flows(
    rig: Rig,
    flows: Iterable[Flow],
    silent: Collection[Flow] = (),
    silence_s: float = SILENCE_S,
) -> dict[Flow, Outcome]:
    """What each of the flows met; `silent` are those that are expected to hear nothing."""
    by_client: dict[int, list[Flow]] = {}
    for flow in flows:
        by_client.setdefault(flow.client, []).append(flow)

    def run(number: int) -> dict[Flow, Outcome]:
        with rig.clients[number].enter():
            return asyncio.run(_run_all(rig, by_client[number], silent, silence_s))

    outcomes: dict[Flow, Outcome] = {}
    with ThreadPoolExecutor() as pool:
        for found in pool.map(run, by_client):
            outcomes |= found
    return outcomes


async def _run_all(
    rig: Rig, flows: list[Flow], silent: Collection[Flow], silence_s: float
) -> dict[Flow, Outcome]:
    free = asyncio.Semaphore(AT_ONCE)

    async def run(flow: Flow) -> Outcome:
        limit = silence_s if flow in silent else ANSWER_S
        async with free:
            try:
                async with asyncio.timeout(limit):
                    return await (_tcp if flow.network == "tcp" else _udp)(rig, flow)
            except TimeoutError:
                return Outcome(DROPPED)
            except (ConnectionError, asyncio.IncompleteReadError, EOFError):
                return Outcome(ENDED)

    return dict(zip(flows, await asyncio.gather(*map(run, flows)), strict=True))


def open_flow_socket(rig: Rig, flow: Flow, kind: socket.SocketKind, port: int) -> socket.socket:
    """A socket of the namespace the thread is in, on the flow's own address."""
    family = socket.AF_INET if flow.version == 4 else socket.AF_INET6
    sock = socket.socket(family, kind)
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if kind == socket.SOCK_STREAM:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    if flow.dscp and flow.version == 4:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, flow.dscp << 2)
    elif flow.dscp:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, flow.dscp << 2)
    sock.bind((rig.clients[flow.client].address(flow.version), port))
    return sock


def _gateway(rig: Rig, flow: Flow) -> str:
    """The gateway's address in the client's network, from which mihomo answers datagrams."""
    mine = ipaddress.ip_address(rig.clients[flow.client].address(flow.version))
    network = ipaddress.ip_network((mine, 24 if flow.version == 4 else 64), strict=False)
    return str(network[1])


def encode_address(host: str, port: int) -> bytes:
    """The SOCKS5 form of a destination, a name as the client writes it."""
    try:
        packed = ipaddress.ip_address(host).packed
        head = bytes((1 if len(packed) == 4 else 4,)) + packed
    except ValueError:
        head = bytes((3, len(host))) + host.encode()
    return head + struct.pack("!H", port)


async def _read(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = await asyncio.get_running_loop().sock_recv(sock, count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


async def _read_line(sock: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n"):
        data += await _read(sock, 1)
    return data


async def _request(sock: socket.socket, flow: Flow, command: int, address: bytes) -> int:
    """A SOCKS5 request; the port of the reply."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, b"\x05\x01" + (b"\x02" if flow.user else b"\x00"))
    await _read(sock, 2)
    if flow.user:
        user, password = flow.user.encode(), PASSWORDS[flow.user].encode()
        login = bytes((1, len(user))) + user + bytes((len(password),)) + password
        await loop.sock_sendall(sock, login)
        await _read(sock, 2)
    await loop.sock_sendall(sock, bytes((5, command, 0)) + address)
    reply = await _read(sock, 4)
    if reply[1]:
        raise EOFError
    rest = await _read(sock, 6 if reply[3] == 1 else 18)
    return int.from_bytes(rest[-2:], "big")


async def _connect_http(sock: socket.socket, flow: Flow) -> None:
    host = f"[{flow.host}]" if ":" in flow.host else flow.host
    request = f"CONNECT {host}:{flow.port} HTTP/1.1\r\nHost: {host}:{flow.port}\r\n"
    if flow.user:
        login = base64.b64encode(f"{flow.user}:{PASSWORDS[flow.user]}".encode()).decode()
        request += f"Proxy-Authorization: Basic {login}\r\n"
    await asyncio.get_running_loop().sock_sendall(sock, f"{request}\r\n".encode())
    status = await _read_line(sock)
    while await _read_line(sock) != b"\r\n":
        pass
    if status.split()[1] != b"200":
        raise EOFError


async def _tcp(rig: Rig, flow: Flow) -> Outcome:
    loop = asyncio.get_running_loop()
    with open_flow_socket(rig, flow, socket.SOCK_STREAM, flow.source_port) as sock:
        if flow.listener == STEERED:
            await loop.sock_connect(sock, (flow.host, flow.port))
        else:
            listener = LISTENERS[flow.listener]
            await loop.sock_connect(sock, (_gateway(rig, flow), listener.port))
            if listener.http:
                await _connect_http(sock, flow)
            else:
                await _request(sock, flow, 1, encode_address(flow.host, flow.port))
        await loop.sock_sendall(sock, b"hello\n")
        return _outcome((await _read_line(sock)).decode())


async def _udp(rig: Rig, flow: Flow) -> Outcome:
    loop = asyncio.get_running_loop()
    with (
        open_flow_socket(rig, flow, socket.SOCK_DGRAM, flow.source_port) as sock,
        open_flow_socket(rig, flow, socket.SOCK_STREAM, 0) as control,
    ):
        if flow.listener == STEERED:
            await loop.sock_connect(sock, (flow.host, flow.port))
            await loop.sock_sendall(sock, b"hello")
            return _outcome((await loop.sock_recv(sock, 2048)).decode())
        gateway = _gateway(rig, flow)
        await loop.sock_connect(control, (gateway, LISTENERS[flow.listener].port))
        anywhere = encode_address("0.0.0.0" if flow.version == 4 else "::", 0)
        port = await _request(control, flow, 3, anywhere)
        await loop.sock_connect(sock, (gateway, port))
        await loop.sock_sendall(sock, bytes(3) + encode_address(flow.host, flow.port) + b"hello")
        data = await loop.sock_recv(sock, 2048)
        return _outcome(data[read_address(data, 3)[2] :].decode())


def _outcome(answer: str) -> Outcome:
    name, _, asked = answer.strip().partition(" ")
    return Outcome(name, asked)
