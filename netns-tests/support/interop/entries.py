"""Entries of `proxies` by protocol, and the transports and TLS they have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from support.interop.certificates import NAME, certificates
from support.interop.rows import SERVER

if TYPE_CHECKING:
    from support.interop.rows import Proxy

USER: Final = "someone"
PASSWORD: Final = "correct horse battery"
UUID: Final = "6f2b1a52-8c9e-4f0d-9d7a-3c1e5b7f9a24"
PATH: Final = "/path/of/socket"
SERVICE: Final = "Service.Name"

WS: Final[Proxy] = {"network": "ws", "ws-opts": {"path": PATH, "headers": {"Host": NAME}}}
WS_EARLY: Final[Proxy] = {
    "network": "ws",
    "ws-opts": {
        "path": PATH,
        "headers": {"Host": NAME},
        "max-early-data": 2048,
        "early-data-header-name": "Sec-WebSocket-Protocol",
    },
}
HTTP_UPGRADE: Final[Proxy] = {
    "network": "ws",
    "ws-opts": {"path": PATH, "headers": {"Host": NAME}, "v2ray-http-upgrade": True},
}
HTTP_UPGRADE_FAST: Final[Proxy] = {
    "network": "ws",
    "ws-opts": {
        "path": PATH,
        "headers": {"Host": NAME},
        "v2ray-http-upgrade": True,
        "v2ray-http-upgrade-fast-open": True,
    },
}
GRPC: Final[Proxy] = {"network": "grpc", "grpc-opts": {"grpc-service-name": SERVICE}}
H2: Final[Proxy] = {"network": "h2", "h2-opts": {"host": [NAME], "path": PATH}}
HTTP: Final[Proxy] = {
    "network": "http",
    "http-opts": {"method": "GET", "path": [PATH], "headers": {"Host": [NAME]}},
}


def verified(kind: str) -> Proxy:
    """TLS with the chain and the name verified; the run's authority is among the trusted ones."""
    return {"tls": True, _name_key(kind): NAME}


def pinned(kind: str) -> Proxy:
    """TLS with one certificate accepted, whoever issued it."""
    return {**verified(kind), "fingerprint": certificates().fingerprint}


def unverified(kind: str) -> Proxy:
    """TLS with any certificate accepted."""
    return {**verified(kind), "skip-cert-verify": True}


def _name_key(kind: str) -> str:
    return "servername" if kind in ("vless", "vmess") else "sni"


def _entry(kind: str, port: int, *parts: Proxy) -> Proxy:
    entry: Proxy = {"type": kind, "server": SERVER, "port": port, "udp": True}
    for part in parts:
        entry |= part
    if kind == "http":
        del entry["udp"]
    return entry


def shadowsocks(port: int, cipher: str, password: str, *parts: Proxy) -> Proxy:
    """`type: ss`."""
    return _entry("ss", port, {"cipher": cipher, "password": password}, *parts)


def trojan(port: int, *parts: Proxy) -> Proxy:
    """`type: trojan`; TLS goes without saying."""
    return _entry("trojan", port, {"password": PASSWORD, "sni": NAME}, *parts)


def vless(port: int, *parts: Proxy) -> Proxy:
    """`type: vless`."""
    return _entry("vless", port, {"uuid": UUID}, *parts)


def vmess(port: int, *parts: Proxy, cipher: str = "auto") -> Proxy:
    """`type: vmess`."""
    return _entry("vmess", port, {"uuid": UUID, "alterId": 0, "cipher": cipher}, *parts)


def socks5(port: int, *parts: Proxy, anonymous: bool = False) -> Proxy:
    """`type: socks5`."""
    login = {} if anonymous else {"username": USER, "password": PASSWORD}
    return _entry("socks5", port, login, *parts)


def http(port: int, *parts: Proxy, anonymous: bool = False) -> Proxy:
    """`type: http`."""
    login = {} if anonymous else {"username": USER, "password": PASSWORD}
    return _entry("http", port, login, *parts)
