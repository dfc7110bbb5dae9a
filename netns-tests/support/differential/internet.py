"""The internet of the differential test: every address answers, and says which way was taken.

    TCP, UDP to any address and port  -> "DIRECT", or "DIRECT <who asks>"
    SOCKS5 servers, one per outbound  -> "<name> <host> <port>", what the server was asked for
    CHECK_URL through one of them     -> 204, for health checks; nothing else is alive by HTTP
    DNS on the node's own address     -> a table of names; NXDOMAIN for the rest

Nothing is forwarded: whoever is asked answers himself. All of it lives on one thread with one event
loop in the internet's namespace; leaving the block ends both.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
import threading
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.rig.plan import WAN_INTERNET

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mihomo_tproxy.rig import Rig

ANYWHERE: Final = 9999
FIRST_PROXY: Final = 10_001
"""The port of the first SOCKS5 server; the others follow."""
DNS: Final = WAN_INTERNET[4]
DIRECT: Final = "DIRECT"
TABLE: Final = "inet differential"
READY_S: Final = 10.0
CHECKED: Final = "198.51.100.1"
CHECK_URL: Final = f"http://{CHECKED}/generate_204"
_NO_CONTENT: Final = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"

_NFT: Final = f"""\
table {TABLE} {{
  chain prerouting {{
    type nat hook prerouting priority dstnat;
    ip daddr {WAN_INTERNET[4]} return
    ip6 daddr {WAN_INTERNET[6]} return
    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} return
    meta l4proto {{ tcp, udp }} redirect to :{ANYWHERE}
  }}
}}
"""

_SUCCESS: Final = bytes((5, 0, 0, 1, 0, 0, 0, 0))
_NAME_TYPE: Final = 3
_TYPES: Final = {1: 4, 28: 6}
"""DNS record types (RFC 1035, RFC 3596) and the IP version of their data."""


def read_address(data: bytes, at: int) -> tuple[str, int, int]:
    """(host, port, end) of a SOCKS5 address (RFC 1928) that begins at `at`."""
    kind = data[at]
    if kind == _NAME_TYPE:
        length = data[at + 1]
        host, end = data[at + 2 : at + 2 + length].decode(), at + 2 + length
    else:
        length = 4 if kind == 1 else 16
        end = at + 1 + length
        host = str(ipaddress.ip_address(data[at + 1 : end]))
    return host, int.from_bytes(data[end : end + 2], "big"), end + 2


class _Datagrams(asyncio.DatagramProtocol):
    """Answers datagrams."""

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport


class _Echo(_Datagrams):
    """Answers any datagram with the same."""

    def __init__(self, tells_peer: bool) -> None:
        self._tells_peer = tells_peer

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(_direct(addr, self._tells_peer), addr)


class _Relay(_Datagrams):
    """The datagrams of one SOCKS5 server: each is answered in the name of its destination."""

    def __init__(self, name: str) -> None:
        self._name = name

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        host, port, end = read_address(data, 3)
        self.transport.sendto(data[:end] + f"{self._name} {host} {port}".encode(), addr)


class _Names(_Datagrams):
    """A DNS server with a table."""

    def __init__(self, names: Mapping[str, Sequence[str]]) -> None:
        self._names = names

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        labels, at = [], 12
        while length := data[at]:
            labels.append(data[at + 1 : at + 1 + length].decode())
            at += 1 + length
        (kind,) = struct.unpack_from("!H", data, at + 1)
        found = self._names.get(".".join(labels).lower())
        wanted = [ipaddress.ip_address(text) for text in found or ()]
        packed = [each.packed for each in wanted if each.version == _TYPES.get(kind)]
        flags = 0x8180 if found is not None else 0x8183
        reply = data[:2] + struct.pack("!HHHHH", flags, 1, len(packed), 0, 0) + data[12 : at + 5]
        for address in packed:
            reply += struct.pack("!HHHIH", 0xC00C, kind, 1, 60, len(address)) + address
        self.transport.sendto(reply, addr)


def _direct(peer: tuple[str, int], tells_peer: bool) -> bytes:
    return f"{DIRECT} {peer[0]}".encode() if tells_peer else DIRECT.encode()


async def _answer_direct(
    tells_peer: bool, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    with suppress(OSError, asyncio.IncompleteReadError):
        await reader.readuntil(b"\n")
        writer.write(_direct(writer.get_extra_info("peername"), tells_peer) + b"\n")
    writer.close()


async def _serve_socks(
    name: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    with suppress(OSError, asyncio.IncompleteReadError):
        _, methods = await reader.readexactly(2)
        await reader.readexactly(methods)
        writer.write(b"\x05\x00")
        request = await reader.readexactly(5)
        rest = {1: 5, _NAME_TYPE: request[4] + 2, 4: 17}[request[3]]
        request += await reader.readexactly(rest)
        writer.write(_SUCCESS[:4] + socket.inet_aton(DNS) + struct.pack("!H", port))
        if request[1] == 1:
            host, wanted, _ = read_address(request, 3)
            line = await reader.readuntil(b"\n")
            alive = host == CHECKED and b" HTTP/1." in line
            writer.write(_NO_CONTENT if alive else f"{name} {host} {wanted}\n".encode())
        else:
            await reader.read()
    writer.close()


class Internet:
    """The servers of a rig's internet node; a context manager."""

    def __init__(
        self,
        rig: Rig,
        outbounds: Sequence[str],
        names: Mapping[str, Sequence[str]],
        *,
        tells_peer: bool = False,
    ) -> None:
        """`tells_peer`: who is asked directly answers with the address that asked."""
        self._tells_peer = tells_peer
        self._node = rig.internet
        self._outbounds = outbounds
        self._names = names
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()

    def proxies(self, without_udp: Sequence[str] = ()) -> list[dict[str, object]]:
        """The entries of `proxies` that lead to the SOCKS5 servers."""
        return [
            {
                "name": name,
                "type": "socks5",
                "server": WAN_INTERNET[4],
                "port": port,
                "udp": name not in without_udp,
            }
            for port, name in enumerate(self._outbounds, FIRST_PROXY)
        ]

    def __enter__(self) -> Internet:
        self._node.run(["nft", "-f", "-"], stdin=_NFT)
        self._thread.start()
        assert self._ready.wait(READY_S), "the servers are not there"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._node.run(["nft", "delete", "table", *TABLE.split()])

    def _run(self) -> None:
        with self._node.enter():
            self._loop.run_until_complete(self._open())
            self._ready.set()
            self._loop.run_forever()
            self._loop.run_until_complete(self._close())
            self._loop.close()

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        answer = partial(_answer_direct, self._tells_peer)
        everywhere = {"host": ["0.0.0.0", "::"], "port": ANYWHERE}
        self._servers = [await asyncio.start_server(answer, **everywhere)]
        self._transports: list[asyncio.BaseTransport] = []
        for host in everywhere["host"]:
            await self._datagrams(loop, _Echo(self._tells_peer), host, ANYWHERE)
        await self._datagrams(loop, _Names(self._names), DNS, 53)
        for port, name in enumerate(self._outbounds, FIRST_PROXY):
            await self._datagrams(loop, _Relay(name), WAN_INTERNET[4], port)

            def serve(
                reader: asyncio.StreamReader,
                writer: asyncio.StreamWriter,
                name: str = name,
                port: int = port,
            ) -> object:
                return _serve_socks(name, port, reader, writer)

            server = await asyncio.start_server(serve, WAN_INTERNET[4], port, backlog=1024)
            self._servers.append(server)

    async def _datagrams(
        self, loop: asyncio.AbstractEventLoop, protocol: _Echo, host: str, port: int
    ) -> None:
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        transport, _ = await loop.create_datagram_endpoint(lambda: protocol, sock=sock)
        self._transports.append(transport)

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        for transport in self._transports:
            transport.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def resolv_conf(rig: Rig) -> Iterator[list[str]]:
    """A command prefix under which the system's resolver asks this internet's DNS server."""
    file = rig.gateway.directory / "resolv.conf"
    file.write_text(f"nameserver {DNS}\noptions timeout:1 attempts:2\n", encoding="ascii")
    script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
    yield ["unshare", "--mount", "sh", "-c", script, str(file)]
