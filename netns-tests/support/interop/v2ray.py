"""v2ray 4.34 of Debian: one process with an inbound for each row."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from support.interop import entries as e
from support.interop.certificates import NAME, certificates
from support.interop.rows import HTTP_ONLY_STREAMS, NO_HALF_CLOSE, SERVER, Peer, no_udp

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mihomo_tproxy.rig import Node, Process

FIRST_PORT = 22_000
TRIES = 3
"""Now and then v2ray never passes on what a remote answers."""
CANNOT = {
    **NO_HALF_CLOSE,
    "8 kB": "v2ray takes 2 kB of a datagram at most",
    "cone": "v2ray opens a port for each remote",
    "remotes": "v2ray loses about one remote in a hundred",
}
HTTP_ERRORS = {"1 B": "v2ray says 'HTTP error' for a destination that ends without a word"}
TRANSPORTS: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "ws": ({"network": "ws", "wsSettings": {"path": e.PATH}}, e.WS, False),
    "tls ws": ({"network": "ws", "wsSettings": {"path": e.PATH}}, e.WS, True),
    "h2": ({"network": "h2", "httpSettings": {"host": [NAME], "path": e.PATH}}, e.H2, True),
    "http": (
        {
            "network": "tcp",
            "tcpSettings": {
                "header": {"type": "http", "request": {"method": "GET", "path": [e.PATH]}}
            },
        },
        e.HTTP,
        False,
    ),
}
"""Name -> v2ray's half, the entry's half, and whether TLS is below."""


class V2Ray:
    """Collects inbounds and rows."""

    def __init__(self) -> None:
        self.inbounds: list[dict[str, Any]] = []
        self.peer = Peer("v2ray", self._launch, tries=TRIES)

    def listen(
        self, protocol: str, settings: dict[str, Any], stream: dict[str, Any], *, tls: bool = False
    ) -> int:
        """Adds an inbound; its port."""
        port = FIRST_PORT + len(self.inbounds)
        if tls:
            stream = {**stream, "security": "tls"}
        self.inbounds.append(
            {
                "port": port,
                "protocol": protocol,
                "settings": settings,
                "streamSettings": stream,
            }
        )
        self.peer.ports.append(port)
        return port

    def _launch(self, node: Node, directory: Path) -> Sequence[Process]:
        chain, key = certificates().write(directory)
        settings = {"certificates": [{"certificateFile": chain, "keyFile": key}]}
        inbounds = [
            {**inbound, "streamSettings": {**inbound["streamSettings"], "tlsSettings": settings}}
            for inbound in self.inbounds
        ]
        config = directory / "v2ray.json"
        config.write_text(
            json.dumps(
                {
                    "log": {"loglevel": "info"},
                    "inbounds": inbounds,
                    "outbounds": [{"protocol": "freedom"}],
                }
            ),
            encoding="utf-8",
        )
        return [node.start(["v2ray", "-config", str(config)])]


def v2ray() -> Peer:
    """v2ray with everything it has in common with us."""
    server = V2Ray()
    _vmess(server)
    _vless(server)
    for cipher in ("aes-128-gcm", "aes-256-gcm", "chacha20-ietf-poly1305"):
        port = server.listen(
            "shadowsocks",
            {"method": cipher, "password": e.PASSWORD, "network": "tcp,udp"},
            {},
        )
        server.peer.row(f"ss {cipher}", e.shadowsocks(port, cipher, e.PASSWORD), CANNOT)
    port = server.listen("trojan", {"clients": [{"password": e.PASSWORD}]}, {}, tls=True)
    server.peer.row("trojan", e.trojan(port), CANNOT)
    account = {"user": e.USER, "pass": e.PASSWORD}
    settings = {"auth": "password", "accounts": [account], "udp": True, "ip": SERVER}
    port = server.listen("socks", settings, {})
    server.peer.row("socks5 login", e.socks5(port), CANNOT)
    port = server.listen("http", {"accounts": [account]}, {})
    server.peer.row("http login", e.http(port), {**CANNOT, **no_udp(HTTP_ONLY_STREAMS)})
    return server.peer


def _vmess(server: V2Ray) -> None:
    settings = {"clients": [{"id": e.UUID, "alterId": 0}]}
    port = server.listen("vmess", settings, {})
    for cipher in ("auto", "aes-128-gcm", "chacha20-poly1305", "none"):
        server.peer.row(f"vmess {cipher}", e.vmess(port, cipher=cipher), CANNOT)
    port = server.listen("vmess", settings, {}, tls=True)
    server.peer.row("vmess tls", e.vmess(port, e.verified("vmess")), CANNOT)
    for name, (half, other, tls) in TRANSPORTS.items():
        port = server.listen("vmess", settings, half, tls=tls)
        parts = [e.verified("vmess"), other] if tls else [other]
        server.peer.row(f"vmess {name}", e.vmess(port, *parts), CANNOT)


def _vless(server: V2Ray) -> None:
    settings = {"clients": [{"id": e.UUID}], "decryption": "none"}
    port = server.listen("vless", settings, {}, tls=True)
    server.peer.row("vless tls", e.vless(port, e.verified("vless")), CANNOT)
    for name, (half, other, tls) in TRANSPORTS.items():
        port = server.listen("vless", settings, half, tls=tls)
        parts = [e.verified("vless"), other] if tls else [other]
        cannot = {**CANNOT, **HTTP_ERRORS} if name == "http" else CANNOT
        server.peer.row(f"vless {name}", e.vless(port, *parts), cannot)
