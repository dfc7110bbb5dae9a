"""mihomo: one process with a listener for each row."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from peers import mihomo_binary
from support.interop import entries as e
from support.interop.certificates import certificates
from support.interop.passwords import CIPHERS, password_for
from support.interop.rows import HTTP_ONLY_STREAMS, NO_CONE, NO_WS_HALF_CLOSE, Peer, no_udp

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mihomo_tproxy.rig import Node, Process

FIRST_PORT = 21_000
LOGIN = [{"username": e.USER, "password": e.PASSWORD}]
TRANSPORTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "ws": ({"ws-path": e.PATH}, e.WS),
    "grpc": ({"grpc-service-name": e.SERVICE}, e.GRPC),
}


class Mihomo:
    """Collects listeners and rows."""

    def __init__(self) -> None:
        self.listeners: list[dict[str, Any]] = []
        self.peer = Peer("mihomo", self._launch)

    def listen(self, kind: str, *, tls: bool = False, **options: Any) -> int:
        """Adds a listener; its port. `_` stands for `-` in the options."""
        port = FIRST_PORT + len(self.listeners)
        listener = {"name": f"in-{port}", "type": kind, "listen": "::", "port": port}
        listener |= {key.replace("_", "-"): value for key, value in options.items()}
        if tls:
            listener |= {"certificate": certificates().chain, "private-key": certificates().key}
        self.listeners.append(listener)
        self.peer.ports.append(port)
        return port

    def _launch(self, node: Node, directory: Path) -> Sequence[Process]:
        config = directory / "config.yaml"
        config.write_text(
            json.dumps(
                {
                    "mode": "rule",
                    "log-level": "info",
                    "ipv6": True,
                    "find-process-mode": "off",
                    "geo-auto-update": False,
                    "dns": {"enable": False},
                    "profile": {"store-selected": False, "store-fake-ip": False},
                    "listeners": self.listeners,
                    "rules": ["MATCH,DIRECT"],
                }
            ),
            encoding="utf-8",
        )
        return [node.start([str(mihomo_binary()), "-d", str(directory)])]


def mihomo() -> Peer:
    """mihomo with everything its listeners have in common with us."""
    server = Mihomo()
    for cipher in CIPHERS:
        password = password_for(cipher)
        port = server.listen("shadowsocks", cipher=cipher, password=password, udp=True)
        server.peer.row(f"ss {cipher}", e.shadowsocks(port, cipher, password), {})
    _trojan(server)
    _vless(server)
    _vmess(server)
    _plain(server)
    return server.peer


def _trojan(server: Mihomo) -> None:
    port = server.listen("trojan", tls=True, users=LOGIN)
    server.peer.row("trojan", e.trojan(port), {})
    required = {
        "client_auth_type": "require-and-verify",
        "client_auth_cert": certificates().authority,
    }
    port = server.listen("trojan", tls=True, users=LOGIN, **required)
    shown = {"certificate": certificates().client_chain, "private-key": certificates().client_key}
    server.peer.row("trojan client certificate", e.trojan(port, shown), {})
    for name, (half, other) in TRANSPORTS.items():
        port = server.listen("trojan", tls=True, users=LOGIN, **half)
        server.peer.row(f"trojan {name}", e.trojan(port, other), _cannot(name))


def _vless(server: Mihomo) -> None:
    users = [{"username": e.USER, "uuid": e.UUID, "flow": ""}]
    port = server.listen("vless", tls=True, users=users)
    tls = e.verified("vless")
    server.peer.row("vless tls", e.vless(port, tls), {})
    server.peer.row("vless tls xudp", e.vless(port, tls, {"packet-encoding": "xudp"}), {})
    encoding = {"packet-encoding": "packetaddr"}
    server.peer.row("vless tls packetaddr", e.vless(port, tls, encoding), {})
    for name, (half, other) in TRANSPORTS.items():
        port = server.listen("vless", tls=True, users=users, **half)
        server.peer.row(f"vless tls {name}", e.vless(port, tls, other), _cannot(name))


def _vmess(server: Mihomo) -> None:
    users = [{"username": e.USER, "uuid": e.UUID, "alterId": 0}]
    port = server.listen("vmess", users=users)
    for cipher in ("auto", "aes-128-gcm", "chacha20-poly1305", "none", "zero"):
        server.peer.row(f"vmess {cipher}", e.vmess(port, cipher=cipher), NO_CONE)
    for option in ("global-padding", "authenticated-length"):
        server.peer.row(f"vmess {option}", e.vmess(port, {option: True}), NO_CONE)
    for encoding in ("xudp", "packetaddr"):
        server.peer.row(f"vmess {encoding}", e.vmess(port, {"packet-encoding": encoding}), {})
    port = server.listen("vmess", tls=True, users=users)
    server.peer.row("vmess tls", e.vmess(port, e.verified("vmess")), NO_CONE)
    for name, (half, other) in TRANSPORTS.items():
        port = server.listen("vmess", tls=True, users=users, **half)
        entry = e.vmess(port, e.verified("vmess"), other)
        server.peer.row(f"vmess tls {name}", entry, {**NO_CONE, **_cannot(name)})


def _plain(server: Mihomo) -> None:
    """SOCKS5 and HTTP, with and without TLS."""
    http_udp = no_udp(HTTP_ONLY_STREAMS)
    port = server.listen("socks", udp=True, users=LOGIN)
    server.peer.row("socks5 login", e.socks5(port), {})
    port = server.listen("socks", udp=True, users=[])
    server.peer.row("socks5", e.socks5(port, anonymous=True), {})
    port = server.listen("socks", tls=True, udp=True, users=LOGIN)
    server.peer.row("socks5 tls", e.socks5(port, e.verified("socks5")), {})
    port = server.listen("mixed", udp=True, users=LOGIN)
    server.peer.row("mixed socks5", e.socks5(port), {})
    server.peer.row("mixed http", e.http(port), http_udp)
    port = server.listen("http", users=LOGIN)
    server.peer.row("http login", e.http(port), http_udp)
    port = server.listen("http", tls=True, users=LOGIN)
    server.peer.row("http tls", e.http(port, e.verified("http")), http_udp)


def _cannot(transport: str) -> dict[str, str]:
    return NO_WS_HALF_CLOSE if transport == "ws" else {}
