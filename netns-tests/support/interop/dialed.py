"""Proxies of one sing-box, who came to them, and what leaves a node, for tests of dialling."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from support.interop import entries as e
from support.interop.certificates import certificates
from support.interop.sing_box import USERS, SingBox
from support.traffic import pair, read_exactly

from mihomo_tproxy.rig.serving import pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.interop.rows import Proxy

    from mihomo_tproxy.rig import Node, Rig

CIPHER = "aes-128-gcm"
SECRET = "secret"
TABLE = "inet dialing"
FROM = re.compile(r"\[in-(\d+)\]: (?:\[\S+\] )?inbound (packet )?connection from (\S+):\d+")


class Servers:
    """One process with a server of each kind, and entries of `proxies` that lead to them."""

    def __init__(self, rig: Rig, directory: Path) -> None:
        self._box = box = SingBox()
        trojan_users = [{"name": e.USER, "password": e.PASSWORD}]
        self.ports = {
            "ss": box.listen("shadowsocks", method=CIPHER, password=SECRET),
            "trojan": box.listen("trojan", tls=True, users=trojan_users),
            "socks5": box.listen("socks", users=USERS),
            "http": box.listen("http", users=USERS),
            "vless": box.listen("vless", users=[{"uuid": e.UUID}]),
            "vmess": box.listen("vmess", users=[{"uuid": e.UUID, "alterId": 0}]),
        }
        box.peer.start(rig.internet, directory)

    def stop(self) -> None:
        """Ends it."""
        self._box.peer.stop()

    def entry(self, kind: str, **options: Any) -> Proxy:
        """An entry of a kind, named after it; `_` in the name of an option stands for `-`."""
        more = {name.replace("_", "-"): value for name, value in options.items()}
        port = self.ports[kind]
        if kind == "ss":
            entry = e.shadowsocks(port, CIPHER, SECRET)
        elif kind == "trojan":
            entry = e.trojan(port, {"fingerprint": certificates().fingerprint})
        else:
            entry = getattr(e, kind)(port)
        return {"name": kind, **entry, **more}

    @contextmanager
    def arrivals(self) -> Iterator[Callable[[], set[tuple[str, str]]]]:
        """(kind, address) of who has come since the block began, once the function is called."""
        log = self._box.peer.processes[0]
        begin = len(log.output)
        kinds = {port: kind for kind, port in self.ports.items()}

        def came() -> set[tuple[str, str]]:
            found = FROM.findall(log.output[begin:])
            return {(kinds[int(port)], address.strip("[]")) for port, _, address in found}

        yield came


@contextmanager
def counting(node: Node, **matches: str) -> Iterator[Callable[[], dict[str, int]]]:
    """Packets that leave a node's own sockets, by name of a match in nftables' words."""
    lines = [
        f"add table {TABLE}",
        f"add chain {TABLE} out {{ type filter hook output priority 0; }}",
    ]
    for name, match in matches.items():
        lines.append(f"add counter {TABLE} {name}")
        lines.append(f"add rule {TABLE} out {match} counter name {name}")
    node.run(["nft", "-f", "-"], stdin="\n".join(lines) + "\n")

    def packets() -> dict[str, int]:
        shown = node.run(["nft", "-j", "list", "counters", "table", *TABLE.split()]).stdout
        counters = [item["counter"] for item in json.loads(shown)["nftables"] if "counter" in item]
        return {counter["name"]: counter["packets"] for counter in counters}

    try:
        yield packets
    finally:
        node.run(["nft", "delete", "table", *TABLE.split()])


@contextmanager
def losing(node: Node, match: str) -> Iterator[None]:
    """What a match of nftables says is lost on its way into a node."""
    script = (
        f"add table {TABLE}_loss\n"
        f"add chain {TABLE}_loss in {{ type filter hook prerouting priority -400; }}\n"
        f"add rule {TABLE}_loss in {match} drop\n"
    )
    node.run(["nft", "-f", "-"], stdin=script)
    try:
        yield
    finally:
        node.run(["nft", "delete", "table", *f"{TABLE}_loss".split()])


def tcp_counters(node: Node) -> dict[str, int]:
    """The node's extended TCP counters, as nstat(8) names them, without the prefix."""
    text = node.run(["cat", "/proc/net/netstat"]).stdout
    lines = [line.split() for line in text.splitlines() if line.startswith("TcpExt:")]
    return {name: int(value) for name, value in zip(lines[0][1:], lines[1][1:], strict=True)}


def transfers(rig: Rig, version: int, count: int = 300_000) -> str:
    """Sends bytes both ways at once, compares them, and returns who the destination saw.

    The client ends first: some servers end both sides once the destination ends its own.
    """
    data = pattern(count)
    with pair(rig, version) as (client, server), ThreadPoolExecutor(2) as pool:
        sent = [pool.submit(sock.sendall, data) for sock in (client, server)]
        for sock in (server, client):
            assert read_exactly(sock, count) == data
        for future in sent:
            future.result()
        return str(server.getpeername()[0])
