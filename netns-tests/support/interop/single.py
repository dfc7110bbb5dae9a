"""Servers of one protocol each: trojan, shadowsocks-libev, dante, microsocks, tinyproxy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from support.interop import entries as e
from support.interop.certificates import certificates
from support.interop.passwords import AEAD
from support.interop.rows import HTTP_ONLY_STREAMS, NO_HALF_CLOSE, SERVER, SERVER_6, Peer, no_udp

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mihomo_tproxy.rig import Node, Process

FIRST_PORT = 23_000
OBFS = ("http", "tls")

_DANTE = f"""\
logoutput: stderr
internal: {SERVER} port = {{port}}
external: {SERVER}
external: {SERVER_6}
user.privileged: root
user.unprivileged: nobody
clientmethod: none
socksmethod: none
client pass {{{{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}}}
socks pass {{{{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}}}
"""

_TINYPROXY = f"""\
Port {{port}}
Listen {SERVER}
Timeout 60
MaxClients 200
LogLevel Info
BasicAuth {e.USER} {{password}}
"""


def single_servers() -> list[Peer]:
    """All of them."""
    return [_trojan(), _shadowsocks(), _dante(), _microsocks(), _tinyproxy()]


def _trojan() -> Peer:
    port = FIRST_PORT

    def launch(node: Node, directory: Path) -> Sequence[Process]:
        chain, key = certificates().write(directory)
        config = directory / "trojan.json"
        config.write_text(
            json.dumps(
                {
                    "run_type": "server",
                    "local_addr": "::",
                    "local_port": port,
                    "remote_addr": "127.0.0.1",
                    "remote_port": 80,
                    "password": [e.PASSWORD],
                    "log_level": 1,
                    "ssl": {"cert": chain, "key": key, "alpn": ["http/1.1"], "reuse_session": True},
                    "tcp": {"prefer_ipv4": False},
                    "mysql": {"enabled": False},
                }
            ),
            encoding="utf-8",
        )
        return [node.start(["trojan", "-c", str(config)])]

    peer = Peer("trojan", launch, ports=[port])
    peer.row("trojan", e.trojan(port), NO_HALF_CLOSE)
    peer.row("trojan alpn", e.trojan(port, {"alpn": ["http/1.1"]}), NO_HALF_CLOSE)
    return peer


def _shadowsocks() -> Peer:
    """One program for each cipher, and one for each kind of obfuscation."""
    kinds = [*((cipher, "") for cipher in AEAD), *(("aes-128-gcm", mode) for mode in OBFS)]
    ports = {kind: FIRST_PORT + 100 + number for number, kind in enumerate(kinds)}

    def launch(node: Node, _directory: Path) -> Sequence[Process]:
        processes = []
        for (cipher, mode), port in ports.items():
            argv = ["ss-server", "-s", SERVER, "-p", str(port), "-k", e.PASSWORD, "-m", cipher]
            argv += ["-u", "-v", "-t", "60"]
            if mode:
                argv += ["--plugin", "obfs-server", "--plugin-opts", f"obfs={mode}"]
            processes.append(node.start(argv))
        return processes

    cannot = {**NO_HALF_CLOSE, "8 kB": "ss-server takes 1,397 bytes of a datagram at most"}
    peer = Peer("ss-libev", launch, ports=list(ports.values()))
    for (cipher, mode), port in ports.items():
        if mode:
            plugin = {"plugin": "obfs", "plugin-opts": {"mode": mode, "host": "www.example.com"}}
            peer.row(f"ss obfs {mode}", e.shadowsocks(port, cipher, e.PASSWORD, plugin), cannot)
        else:
            peer.row(f"ss {cipher}", e.shadowsocks(port, cipher, e.PASSWORD), cannot)
    return peer


def _dante() -> Peer:
    port = FIRST_PORT + 200

    def launch(node: Node, directory: Path) -> Sequence[Process]:
        config = directory / "danted.conf"
        config.write_text(_DANTE.format(port=port), encoding="ascii")
        return [node.start(["danted", "-f", str(config), "-p", str(directory / "danted.pid")])]

    peer = Peer("dante", launch, ports=[port])
    peer.row("socks5", e.socks5(port, anonymous=True), {})
    return peer


def _microsocks() -> Peer:
    ports = (FIRST_PORT + 300, FIRST_PORT + 301)

    def launch(node: Node, _directory: Path) -> Sequence[Process]:
        plain = ["microsocks", "-i", SERVER, "-p", str(ports[0])]
        login = ["microsocks", "-i", SERVER, "-p", str(ports[1]), "-u", e.USER, "-P", e.PASSWORD]
        return [node.start(plain), node.start(login)]

    peer = Peer("microsocks", launch, ports=list(ports), duplex=False)
    cannot = {**NO_HALF_CLOSE, **no_udp("microsocks knows CONNECT only")}
    peer.row("socks5", e.socks5(ports[0], anonymous=True), cannot)
    peer.row("socks5 login", e.socks5(ports[1]), cannot)
    return peer


def _tinyproxy() -> Peer:
    port = FIRST_PORT + 400
    password = "simple"

    def launch(node: Node, directory: Path) -> Sequence[Process]:
        config = directory / "tinyproxy.conf"
        config.write_text(_TINYPROXY.format(port=port, password=password), encoding="ascii")
        return [node.start(["tinyproxy", "-d", "-c", str(config)])]

    peer = Peer("tinyproxy", launch, ports=[port])
    entry = e.http(port, {"password": password})
    peer.row("http login", entry, {**NO_HALF_CLOSE, **no_udp(HTTP_ONLY_STREAMS)})
    return peer
