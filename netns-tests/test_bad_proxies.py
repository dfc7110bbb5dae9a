"""Proxies that lead to the wrong server, carry the wrong secret, or lead to one that stalls.

Each flow ends in time with one error, counted under its cause; a flow through a proxy that is right
goes on meanwhile. What cannot be told from a slow answer, such as silence towards a
protocol without a handshake, is not here.
"""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import ExitStack
from itertools import count

import pytest
from support.gateway import wait_until
from support.interop import entries as e
from support.interop.client import routing_of, running, source_ports
from support.interop.impostors import Impostor, tls_context
from support.interop.passwords import password_for
from support.interop.rows import Row
from support.interop.sing_box import SingBox
from support.traffic import connect

from mihomo_tproxy.rig.serving import PORTS, pattern

pytestmark = pytest.mark.timeout(120)

REQUEST = b"GET / HTTP/1.0\r\n\r\n"
ENDS_S = 20.0
"""Longer than any handshake may take."""
NEW = "2022-blake3-aes-128-gcm"

OBFS = {
    mode: {"plugin": "obfs", "plugin-opts": {"mode": mode, "host": "www.example.com"}}
    for mode in ("http", "tls")
}
PROXIES = {
    "ss": lambda port: e.shadowsocks(port, "aes-128-gcm", "secret"),
    "ss 2022": lambda port: e.shadowsocks(port, NEW, password_for(NEW)),
    "ss obfs http": lambda port: e.shadowsocks(port, "aes-128-gcm", "secret", OBFS["http"]),
    "ss obfs tls": lambda port: e.shadowsocks(port, "aes-128-gcm", "secret", OBFS["tls"]),
    "trojan": lambda port: e.trojan(port),
    "trojan grpc": lambda port: e.trojan(port, e.GRPC),
    "vless": lambda port: e.vless(port),
    "vless ws": lambda port: e.vless(port, e.WS),
    "vless ws early data": lambda port: e.vless(port, e.WS_EARLY),
    "vless tls ws": lambda port: e.vless(port, e.verified("vless"), e.WS),
    "vless httpupgrade": lambda port: e.vless(port, e.HTTP_UPGRADE),
    "vless httpupgrade fast open": lambda port: e.vless(port, e.HTTP_UPGRADE_FAST),
    "vless http": lambda port: e.vless(port, e.HTTP),
    "vless tls h2": lambda port: e.vless(port, e.verified("vless"), e.H2),
    "vmess": lambda port: e.vmess(port),
    "vmess ws": lambda port: e.vmess(port, e.WS),
    "socks5": lambda port: e.socks5(port, anonymous=True),
    "socks5 login": lambda port: e.socks5(port),
    "socks5 tls": lambda port: e.socks5(port, e.verified("socks5")),
    "http": lambda port: e.http(port, anonymous=True),
    "http tls": lambda port: e.http(port, e.verified("http")),
}
TLS = ("trojan", "trojan grpc", "vless tls ws", "vless tls h2", "socks5 tls", "http tls")
HTTP = (
    *("ss obfs http", "vless ws", "vless ws early data", "vless httpupgrade"),
    *("vless httpupgrade fast open", "vless http", "vmess ws"),
)

WRONG_SERVERS = {
    "echo": {
        "ss": "ss-replay",
        "ss 2022": "ss-auth-failed",
        "vmess": "vmess-bad-response",
        "socks5": "socks5-no-method",
        "socks5 login": "socks5-no-method",
        **dict.fromkeys((*HTTP, "http"), "http-bad-head"),
        **dict.fromkeys(TLS, "tls-broken"),
    },
    "banner": {
        "ss": "ss-auth-failed",
        "ss 2022": "ss-auth-failed",
        "ss obfs tls": "obfs-bad-record",
        "vless": "vless-bad-response",
        "vmess": "vmess-bad-response",
        "socks5": "socks5-bad-version",
        "socks5 login": "socks5-bad-version",
        **dict.fromkeys((*HTTP, "http"), "http-bad-head"),
        **dict.fromkeys(TLS, "tls-not-tls"),
    },
    "http": {
        **dict.fromkeys(HTTP, "http-status"),
        "http": "http-refused",
        "vless": "vless-bad-response",
    },
    "farewell": {
        "ss": "ss-cut-short",
        "ss 2022": "ss-cut-short",
        "ss obfs tls": "obfs-eof",
        "vless": "vless-bad-response",
        "vmess": "vmess-no-answer",
        "socks5": "socks5-bad-version",
        "socks5 login": "socks5-bad-version",
        **dict.fromkeys((*HTTP, "http"), "http-bad-head"),
        **dict.fromkeys(TLS, "handshake-closed"),
    },
}
"""Built-in server of the rig -> proxy that leads to it -> how its flows end."""

SAYS = {
    "nothing": (b"", [*TLS, "vless ws", "vless httpupgrade", "vmess ws", "socks5", "http"]),
    "half a ServerHello": (b"\x16\x03\x03\x00\x7a\x02\x00", TLS),
    "half a response": (b"HTTP/1.1 101 Swit", ["vless ws", "vless httpupgrade", "http"]),
    "half a method": (b"\x05", ["socks5", "socks5 login"]),
    "a method": (b"\x05\x00", ["socks5"]),
    "a method and half a reply": (b"\x05\x00\x05\x00\x00\x01", ["socks5"]),
    "login wanted": (b"\x05\x02", ["socks5 login"]),
    "login accepted": (b"\x05\x02\x01\x00", ["socks5 login"]),
}
"""What a server says before it stalls -> proxies that wait for more."""
STALLS_IN_TLS = ("vless tls ws", "socks5 tls", "http tls")
FIRST_STALL_PORT = 24_000


class Bench:
    """A gateway with many proxies, one of them right; flows through them, and how they end."""

    def __init__(self, rig, gateway, rows):
        self.rig = rig
        self.gateway = gateway
        self.rows = rows
        self.numbers = {str(row): number for number, row in rows.items()}
        self._ports = {number: iter(source_ports(number)) for number in rows}

    def open(self, row, service="echo"):
        address, ports = self.rig.destination(1), self._ports[self.numbers[row]]
        return connect(
            self.rig.clients[0], address, PORTS[service], source_port=next(ports), timeout=ENDS_S
        )

    def end_of(self, row):
        """`reset` or `end` when a flow ends without a byte, `data` when it does not."""
        try:
            with self.open(row) as sock:
                sock.sendall(REQUEST)
                return "data" if sock.recv(65_536) else "end"
        except ConnectionError:
            return "reset"

    def all_end(self, expected):
        """One flow for each row, at once: all end in time, and are counted under their causes.

        With a reset, unless the server ended in order before it said anything that counts.
        """
        before = Counter(self.gateway.errors())
        ends = {}

        def run(row):
            ends[row] = self.end_of(row)

        threads = [threading.Thread(target=run, args=(row,), daemon=True) for row in expected]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(ENDS_S)
        assert ends == {
            row: "end" if cause.endswith("no-answer") else "reset"
            for row, cause in expected.items()
        }
        wanted = Counter(expected.values())

        def counted():
            found = Counter(self.gateway.errors()) - before
            return found if found.total() >= wanted.total() else None

        assert wait_until(counted, "errors counted") == wanted


@pytest.fixture(scope="module")
def bench(module_rig, tmp_path_factory):
    """Every wrong proxy of this file in one gateway, and the servers they lead to."""
    assert module_rig.servers.process.running
    directory = tmp_path_factory.mktemp("servers")
    node = module_rig.internet
    ports = count(FIRST_STALL_PORT)
    rows = [
        Row(server, name, PROXIES[name](PORTS[server]))
        for server, names in {**WRONG_SERVERS, "reset": PROXIES, "reset-later": PROXIES}.items()
        for name in names
    ]
    with ExitStack() as stack:
        for said, (says, names) in SAYS.items():
            port = next(ports)
            stack.enter_context(Impostor(node, port, says))
            rows += [Row(said, name, PROXIES[name](port)) for name in names]
        port = next(ports)
        stack.enter_context(Impostor(node, port, context=tls_context(directory)))
        rows += [Row("TLS", name, PROXIES[name](port)) for name in STALLS_IN_TLS]
        port = next(ports)
        stack.enter_context(Impostor(node, port, pattern(4096)))
        rows += [Row("garbage", name, PROXIES[name](port)) for name in GARBAGE]
        port = next(ports)
        stack.enter_context(Impostor(node, port, context=tls_context(directory, stranger=True)))
        rows += [Row("stranger", name, PROXIES[name](port)) for name in TLS]
        box, right = wrong_secrets()
        rows += [*box.rows, right]
        box.start(node, directory / "box")
        stack.callback(box.stop)
        numbered = dict(enumerate(rows))
        with running("ours", module_rig, routing_of(numbered)) as gateway:
            yield Bench(module_rig, gateway, numbered)


def wrong_secrets():
    """A sing-box, proxies with wrong passwords or expectations of it, and one that is right."""
    box = SingBox()
    peer = box.peer
    ours = {"password": "not the one"}
    login = {"username": "nobody", "password": "wrong"}
    users = [{"username": e.USER, "password": e.PASSWORD}]
    port = box.listen("shadowsocks", method="aes-128-gcm", password="secret")
    right = Row("sing-box", "right", e.shadowsocks(port, "aes-128-gcm", "secret"))
    peer.row("ss", e.shadowsocks(port, "aes-128-gcm", "other"), {})
    port = box.listen("shadowsocks", method=NEW, password=password_for(NEW))
    peer.row("ss 2022", e.shadowsocks(port, NEW, password_for(NEW, "stranger")), {})
    port = box.listen("trojan", tls=True, users=[{"password": e.PASSWORD}])
    peer.row("trojan", e.trojan(port, ours), {})
    peer.row("trojan other name", e.trojan(port, {"sni": "other.test"}), {})
    peer.row("trojan other pin", e.trojan(port, {"fingerprint": "00" * 32}), {})
    other = {"uuid": "00000000-0000-4000-8000-000000000001"}
    port = box.listen("vless", users=[{"uuid": e.UUID}])
    peer.row("vless", e.vless(port, other), {})
    port = box.listen("vmess", users=[{"uuid": e.UUID, "alterId": 0}])
    peer.row("vmess", e.vmess(port, other), {})
    port = box.listen("socks", users=users)
    peer.row("socks5", e.socks5(port, login), {})
    peer.row("socks5 no login", e.socks5(port, anonymous=True), {})
    port = box.listen("http", users=users)
    peer.row("http", e.http(port, login), {})
    return peer, right


# sing-box resets whom it does not know, where there is no answer to give.
WRONG_SECRETS = {
    **dict.fromkeys(("ss", "ss 2022", "vless", "vmess"), "relay-reset"),
    "trojan other name": "tls-certificate",
    "trojan other pin": "tls-fingerprint",
    "socks5": "socks5-auth-failed",
    "socks5 no login": "socks5-no-method",
    "http": "http-auth-failed",
}
GARBAGE = {
    "ss": "ss-auth-failed",
    "ss 2022": "ss-auth-failed",
    "vless": "vless-bad-response",
    "vmess": "vmess-bad-response",
    "socks5": "socks5-bad-version",
    "socks5 login": "socks5-bad-version",
    **dict.fromkeys((*HTTP, "http"), "http-bad-head"),
    **dict.fromkeys(TLS, "tls-not-tls"),
}


@pytest.fixture(autouse=True)
def other_flow(bench):
    """A flow through a proxy that is right, open before and usable after."""
    with bench.open("sing-box right") as sock:
        sock.sendall(b"before")
        assert sock.recv(10) == b"before"
        yield
        sock.sendall(b"after")
        assert sock.recv(10) == b"after"


@pytest.mark.parametrize("server", WRONG_SERVERS)
def test_a_server_of_another_protocol(bench, server):
    expected = {f"{server} {name}": cause for name, cause in WRONG_SERVERS[server].items()}
    bench.all_end(expected)


def test_garbage(bench):
    bench.all_end({f"garbage {name}": cause for name, cause in GARBAGE.items()})


def test_wrong_secrets_and_certificates(bench):
    bench.all_end({f"sing-box {name}": cause for name, cause in WRONG_SECRETS.items()})


def test_a_wrong_trojan_password(bench):
    """The server just ends, as it does after a destination that says nothing; that is counted."""
    before = Counter(bench.gateway.errors())
    assert bench.end_of("sing-box trojan") in ("end", "reset")
    found = wait_until(lambda: Counter(bench.gateway.errors()) - before, "an error counted")
    assert set(found) <= {"trojan-no-answer", "relay-reset"}


def test_a_certificate_of_nobody_we_trust(bench):
    bench.all_end({f"stranger {name}": "tls-certificate" for name in TLS})


@pytest.mark.parametrize("server", ["reset", "reset-later"])
def test_a_server_that_resets(bench, server):
    before = Counter(bench.gateway.errors())
    for name in PROXIES:
        assert bench.end_of(f"{server} {name}") == "reset"

    def counted():
        found = Counter(bench.gateway.errors()) - before
        return found if found.total() >= len(PROXIES) else None

    found = wait_until(counted, "errors counted")
    assert found.total() == len(PROXIES)
    assert set(found) <= {"dial-reset", "handshake-reset", "relay-reset"}


def test_stalls_in_every_step_of_every_handshake(bench):
    """All at once, since each takes as long as a handshake may."""
    expected = {
        f"{said} {name}": "handshake-timeout" for said, (_, n) in SAYS.items() for name in n
    }
    expected |= {f"TLS {name}": "handshake-timeout" for name in STALLS_IN_TLS}
    bench.all_end(expected)
