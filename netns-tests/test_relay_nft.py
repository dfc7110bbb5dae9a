"""The relay behind a user's own nftables `tproxy` rule: client, gateway and server namespaces.

Needs root, iproute2 and nftables. The gateway's half runs in a child process that entered the
gateway's namespace; nothing outlives the module's fixture.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PREFIX = f"mtr{os.getpid() % 10000}"
CLIENT, GATEWAY, SERVER = (f"{PREFIX}{end}" for end in "cgs")
PORT = 7893
GIVE_UP_S = 5.0

WORKER = """
import asyncio, signal, sys
from socket import AF_INET, AF_INET6
from mihomo_tproxy.inbound.listener import open_tcp
from mihomo_tproxy.inbound.tproxy import TcpListener, UdpListener, open_udp
from mihomo_tproxy.model.metadata import Decision
from mihomo_tproxy.net.icmp import Unreachable
from mihomo_tproxy.net.pipes import PipePool
from mihomo_tproxy.net.reactor import Reactor
from mihomo_tproxy.net.dial import Dialer
from mihomo_tproxy.net.relay import RelayContext, Timeouts
from mihomo_tproxy.net.tracker import Tracker
from mihomo_tproxy.outbound.direct import Direct
from mihomo_tproxy.outbound.registry import OutboundRegistry
from mihomo_tproxy.outbound.reject import Reject, RejectDrop
from mihomo_tproxy.tunnel.tunnel import Tunnel
import uvloop

class Engine:
    fields = 0
    def match(self, metadata):
        return Decision({81: "REJECT", 82: "REJECT-DROP"}.get(
            metadata.destination_port, "DIRECT"), -1, 0)

async def main():
    reactor, tracker = Reactor(asyncio.get_running_loop()), Tracker()
    context = RelayContext(reactor, PipePool(), tracker, Timeouts())
    tunnel = Tunnel(context, None, Engine(), OutboundRegistry([
        Direct(context, Dialer(context, None)),
        Reject(tracker, Unreachable(reactor)), RejectDrop(reactor, tracker)]))
    for family, host in ((AF_INET, "0.0.0.0"), (AF_INET6, "::")):
        sock = open_tcp(family, host, PORT, transparent=True)
        TcpListener(reactor, sock, tunnel, tracker).start()
        UdpListener(reactor, open_udp(family, host, PORT), tunnel, tracker).start()
    reactor.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print("ready", flush=True)
    await stop.wait()
    tunnel.close()
    reactor.close()
    print(reactor.crashes, tracker.errors, flush=True)

uvloop.run(main())
""".replace("PORT", str(PORT))

RULES = f"""
table inet t {{
  chain p {{
    type filter hook prerouting priority mangle; policy accept;
    fib daddr type local accept
    iifname lan0 meta l4proto {{ tcp, udp }} socket transparent 1 meta mark set 1 accept
    iifname lan0 meta nfproto ipv4 meta l4proto {{ tcp, udp }} \
tproxy ip to :{PORT} meta mark set 1 accept
    iifname lan0 meta nfproto ipv6 meta l4proto {{ tcp, udp }} \
tproxy ip6 to [::]:{PORT} meta mark set 1 accept
  }}
}}
"""

LINKS = [
    (CLIENT, "c0", GATEWAY, "lan0", "10.81.1.", "fd81:1::"),
    (SERVER, "s0", GATEWAY, "wan0", "10.81.2.", "fd81:2::"),
]
V4, V6 = ("10.81.2.2", "10.81.2.3"), ("fd81:2::2", "fd81:2::3")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def build() -> None:
    for name in (CLIENT, GATEWAY, SERVER):
        ip("netns", "add", name)
        ip("-n", name, "link", "set", "lo", "up")
    for end, device, gateway, other, v4, v6 in LINKS:
        ip("link", "add", device, "netns", end, "type", "veth", "peer", other, "netns", gateway)
        ip("-n", gateway, "addr", "add", f"{v4}1/24", "dev", other)
        ip("-n", gateway, "addr", "add", f"{v6}1/64", "dev", other, "nodad")
        for host in (2, 3):
            ip("-n", end, "addr", "add", f"{v4}{host}/24", "dev", device)
            ip("-n", end, "addr", "add", f"{v6}{host}/64", "dev", device, "nodad")
        ip("-n", end, "link", "set", device, "up")
        ip("-n", gateway, "link", "set", other, "up")
        ip("-n", end, "route", "add", "default", "via", f"{v4}1")
        ip("-n", end, "-6", "route", "add", "default", "via", f"{v6}1")
    for family in ("-4", "-6"):
        ip("-n", GATEWAY, family, "rule", "add", "fwmark", "1", "lookup", "100")
        ip("-n", GATEWAY, family, "route", "add", "local", "default", "dev", "lo", "table", "100")
    enter = ["nsenter", f"--net=/run/netns/{GATEWAY}"]
    subprocess.run([*enter, "nft", "-f", "-"], input=RULES, text=True, check=True)


@pytest.fixture(scope="module")
def gateway():
    if os.geteuid() != 0:
        pytest.skip("needs root")
    worker = None
    try:
        build()
        worker = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{GATEWAY}", sys.executable, "-c", WORKER],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert worker.stdout.readline() == "ready\n"
        yield worker
        worker.terminate()
        assert worker.communicate(timeout=GIVE_UP_S)[0].startswith("0 ")
    finally:
        if worker is not None and worker.poll() is None:
            worker.kill()
            worker.wait()
        for name in (CLIENT, GATEWAY, SERVER):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


@contextlib.contextmanager
def inside(name):
    """This thread's new sockets belong to a namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{name}") as there:
        assert libc.setns(there.fileno(), 0) == 0
        try:
            yield
        finally:
            assert libc.setns(home.fileno(), 0) == 0


def make(name, family, kind):
    with inside(name):
        sock = socket.socket(family, kind)
    sock.settimeout(GIVE_UP_S)
    return sock


def family_of(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def talk(client, address):
    """Connect, send and wait; a reset may come at any of these."""
    client.connect(address)
    client.sendall(b"x")
    client.recv(1)


families = pytest.mark.parametrize("hosts", [V4, V6], ids=["v4", "v6"])


@families
def test_tcp_both_ways_with_a_half_close(gateway, hosts):
    with make(SERVER, family_of(hosts[0]), socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((hosts[0], 80))
        listening.listen()
        with make(CLIENT, family_of(hosts[0]), socket.SOCK_STREAM) as client:
            client.connect((hosts[0], 80))
            assert client.getpeername()[0] == hosts[0]
            server, peer = listening.accept()
            assert peer[0] != client.getsockname()[0], "relayed, not forwarded"
            payload = os.urandom(1 << 20) * 8
            sender = threading.Thread(
                target=lambda: (client.sendall(payload), client.shutdown(socket.SHUT_WR))
            )
            sender.start()
            got = bytearray()
            while chunk := server.recv(1 << 18):
                got += chunk
            sender.join()
            assert got == payload
            server.sendall(b"done")
            server.close()
            assert client.recv(16) == b"done"
            assert client.recv(16) == b""


@families
def test_refused_server_resets_the_client(gateway, hosts):
    with (
        make(CLIENT, family_of(hosts[0]), socket.SOCK_STREAM) as client,
        pytest.raises((ConnectionResetError, BrokenPipeError)),
    ):
        talk(client, (hosts[0], 4))


@families
def test_reject(gateway, hosts):
    with (
        make(CLIENT, family_of(hosts[0]), socket.SOCK_STREAM) as client,
        pytest.raises((ConnectionResetError, BrokenPipeError)),
    ):
        talk(client, (hosts[0], 81))
    with make(CLIENT, family_of(hosts[0]), socket.SOCK_DGRAM) as client:
        client.connect((hosts[0], 81))
        client.send(b"x")
        with pytest.raises(ConnectionRefusedError):
            client.recv(1)


@families
def test_drop_is_silent(gateway, hosts):
    with make(CLIENT, family_of(hosts[0]), socket.SOCK_STREAM) as client:
        client.connect((hosts[0], 82))
        client.sendall(b"anyone?")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)


@families
def test_full_cone(gateway, hosts):
    """One client port, two servers, and an answer from a port the client never wrote to."""
    family = family_of(hosts[0])
    with (
        make(SERVER, family, socket.SOCK_DGRAM) as first,
        make(SERVER, family, socket.SOCK_DGRAM) as second,
        make(SERVER, family, socket.SOCK_DGRAM) as third,
        make(CLIENT, family, socket.SOCK_DGRAM) as client,
    ):
        first.bind((hosts[0], 9000))
        second.bind((hosts[1], 9000))
        third.bind((hosts[1], 9999))
        client.sendto(b"one", first.getsockname())
        client.sendto(b"two", second.getsockname())
        ours = first.recvfrom(64)[1]
        assert second.recvfrom(64)[1] == ours
        third.sendto(b"unsolicited", ours)
        assert client.recvfrom(64) == (b"unsolicited", third.getsockname())
        client.sendto(b"hello", third.getsockname())
        assert third.recvfrom(64) == (b"hello", ours)


@families
@pytest.mark.parametrize("size", [1, 3000, 22528, 60000])
def test_datagram_sizes(gateway, hosts, size):
    family = family_of(hosts[0])
    with (
        make(SERVER, family, socket.SOCK_DGRAM) as server,
        make(CLIENT, family, socket.SOCK_DGRAM) as client,
    ):
        server.bind((hosts[0], 9000))
        payload = os.urandom(size)
        for _ in range(3):
            client.sendto(payload, server.getsockname())
            data, sender = server.recvfrom(65536)
            assert data == payload
            server.sendto(data, sender)
            assert client.recvfrom(65536) == (payload, server.getsockname())


@families
def test_connection_to_the_listener_itself_does_not_loop(gateway, hosts):
    own = hosts[0].replace("81.2.2", "81.1.1").replace("81:2::2", "81:1::1")
    with (
        make(CLIENT, family_of(own), socket.SOCK_STREAM) as client,
        pytest.raises((ConnectionResetError, BrokenPipeError)),
    ):
        talk(client, (own, PORT))


def test_clients_share_a_server(gateway):
    with make(SERVER, socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((V4[0], 9000))
        clients = [make(CLIENT, socket.AF_INET, socket.SOCK_DGRAM) for _ in range(20)]
        end = time.monotonic() + GIVE_UP_S
        for round_ in range(3):
            for number, client in enumerate(clients):
                client.sendto(b"%d %d" % (number, round_), server.getsockname())
            for _ in clients:
                data, sender = server.recvfrom(64)
                server.sendto(data, sender)
            for number, client in enumerate(clients):
                assert client.recv(64) == b"%d %d" % (number, round_)
            assert time.monotonic() < end
        for client in clients:
            client.close()
