"""A gateway with groups and providers, and servers around it that a test drives.

stage.use(group("G", "select", "a", "b"))
stage.select("G", "b")
assert stage.carrier() == "b"
"""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trustme
from support.gateway import Gateway, pss_kib, wait_until
from support.internet import WEB, Internet
from support.lifecycle import holds_maps
from support.traffic import read_all
from support.udp import mapped, open_socket

from mihomo_tproxy.control import ask
from mihomo_tproxy.dataplane.instance import Instance
from mihomo_tproxy.rig.plan import WAN_GATEWAY
from mihomo_tproxy.rig.serving import PORTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from socket import socket

    from support.socks import Socks
    from support.webserver import Web

    from mihomo_tproxy.rig import Rig

PEER = b"GET /peer HTTP/1.1\r\nHost: peer\r\nConnection: close\r\n\r\n"
DIRECT = "DIRECT"
WEB_PORT, SECURE_PORT, STRANGE_PORT = 8080, 8443, 9443
AUTHORITY = "authority.pem"
CHECK_PATH = "/204"


class Governed(Gateway):
    """A daemon whose file lies in a home of its own."""

    def __init__(self, rig: Rig, config: dict[str, Any], home: Path) -> None:
        super().__init__(rig)
        self.home = home
        self.file = home / "config.yaml"
        self.configure(config)

    def start(self, *, prefix: Sequence[str] = ()) -> Gateway:
        """With the authority of the secure web server among those it trusts."""
        trusted = self.node.directory / AUTHORITY
        return super().start(prefix=["env", f"SSL_CERT_FILE={trusted}", *prefix])

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """What it answers to a command of its control socket. Raises GatewayError."""
        path = Instance(f"/run/netns/{self.node.netns}").control_path
        return ask(path, {"command": command, **arguments})

    def select(self, group: str, member: str) -> None:
        """Has a group take a member."""
        self.ask("select", group=group, member=member)

    def now(self, group: str) -> str:
        """The member that a group takes."""
        return str(self.group(group)["now"])

    def group(self, name: str) -> dict[str, Any]:
        """What it says about a group."""
        found: dict[str, Any] = next(
            group for group in self.ask("groups")["groups"] if group["name"] == name
        )
        return found

    def wait_now(self, group: str, member: str) -> None:
        """Returns once a group takes a member."""
        wait_until(lambda: self.now(group) == member, f"{group} takes {member}")

    def wait_checked(self, *proxies: str) -> None:
        """Returns once it tells of a check of each of them."""
        wait_until(lambda: self.ask("groups")["delays"].keys() >= {*proxies}, "checks")

    def wait_log(self, text: str, count: int = 1) -> None:
        """Returns once it has said something so many times."""
        wait_until(lambda: self.output.count(text) >= count, f"log: {text}")

    def keeper(self) -> int:
        """The keeper's process id; 0 while there is none."""
        return next((pid for pid in self.workers() if not holds_maps(pid)), 0)

    def memory_by_process(self) -> dict[str, int]:
        """Proportional set sizes in KiB."""
        found = {"supervisor": pss_kib(self.process.pid)}
        for pid in self.workers():
            found["worker" if holds_maps(pid) else "keeper"] = pss_kib(pid)
        return found


@dataclass
class Stage:
    """A gateway, three proxies behind it, and a web server for checks and downloads."""

    rig: Rig
    gateway: Governed
    proxies: dict[str, Socks]
    web: Web
    secure: Web
    """Over TLS, with a certificate that the gateway verifies."""
    strange: Web
    """The same, but it does not trust who issued that one."""
    number: int = 0
    """Of the test: its checks are of a URL of its own, so that no test before has a say."""

    @property
    def check_url(self) -> str:
        """What the groups check their members with."""
        return f"{self.web.url(CHECK_PATH)}?{self.number}"

    def config(self, *groups: dict[str, Any], **more: Any) -> dict[str, Any]:
        """A configuration whose first group gets everything; `_` in options stands for `-`."""
        first = groups[0]["name"] if groups else DIRECT
        return {
            "proxies": [proxy.entry() for proxy in self.proxies.values()],
            "proxy-groups": [{"url": self.check_url, **group} for group in groups],
            "rules": [f"MATCH,{first}"],
            **{name.replace("_", "-"): value for name, value in more.items()},
        }

    @contextmanager
    def another(self, home: Path, *groups: dict[str, Any], **more: Any) -> Iterator[Governed]:
        """A daemon of its own, in a home of its own, where none runs."""
        with Governed(self.rig, self.config(*groups, **more), home) as gateway:
            yield gateway

    def use(self, *groups: dict[str, Any], **more: Any) -> Governed:
        """Has the gateway read such a configuration; the gateway."""
        self.gateway.reload(self.config(*groups, **more))
        return self.gateway

    def reset(self) -> None:
        """All proxies are there and fast, and nobody has checked them."""
        self.number += 1
        for proxy in self.proxies.values():
            proxy.alive, proxy.delay_s = True, 0.0

    def name_of(self, address: str) -> str:
        """The proxy that has this address; DIRECT for the client's own, or the gateway's."""
        if address in (self.rig.clients[0].address(4), WAN_GATEWAY[4]):
            return DIRECT
        return next(name for name, each in self.proxies.items() if each.address == address)

    def carrier(self, number: int = 1) -> str:
        """Who carries a new TCP flow to this destination. Raises ConnectionError."""
        with self.rig.clients[0].connect(self.rig.destination(number), PORTS["http"]) as sock:
            return self.carrier_of(sock)

    def carrier_of(self, sock: socket) -> str:
        """Who carries a connection to the web server of the rig."""
        sock.sendall(PEER)
        answer = read_all(sock)
        if not answer:
            raise ConnectionResetError("nothing came")
        return self.name_of(answer.rpartition(b"\n")[2].split()[0].decode())

    def udp_carrier(self, number: int = 1) -> str:
        """Who carries the datagrams of a new socket."""
        with open_socket(self.rig.clients[0], 4) as sock:
            return self.udp_carrier_of(sock, number)

    def udp_carrier_of(self, sock: socket, number: int = 1) -> str:
        """Who carries a socket's datagrams."""
        return self.name_of(mapped(sock, self.rig.destination(number))[0])

    def carriers(self, count: int) -> list[str]:
        """Who carries new flows to as many destinations, one each."""
        return [self.carrier(number) for number in range(1, count + 1)]

    def blocked(self, number: int = 1) -> bool:
        """Whether a new TCP flow to this destination is refused."""
        try:
            self.carrier(number)
        except ConnectionError:
            return True
        return False


def group(name: str, kind: str, *members: str, **options: Any) -> dict[str, Any]:
    """An entry of `proxy-groups`; `_` in the name of an option stands for `-`."""
    more = {key.replace("_", "-"): value for key, value in options.items()}
    entry = {"name": name, "type": kind, **more}
    return {**entry, "proxies": list(members)} if members else entry


@contextmanager
def staged(rig: Rig, home: Path) -> Iterator[Stage]:
    """A stage whose gateway does not run yet."""
    with Internet(rig.internet) as internet:
        assert rig.servers.process.running
        proxies = internet.socks("a", "b", "c")
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(rig.gateway.directory / AUTHORITY))
        web = internet.web(WEB_PORT)
        secure = internet.web(SECURE_PORT, _server_side(authority))
        strange = internet.web(STRANGE_PORT, _server_side(trustme.CA()))
        gateway = Governed(rig, {"rules": ["MATCH,DIRECT"]}, home)
        yield Stage(rig, gateway, proxies, web, secure, strange)


def _server_side(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(WEB).configure_cert(context)
    return context


@contextmanager
def governing(rig: Rig, home: Path) -> Iterator[Stage]:
    """A stage whose gateway runs, with nothing to govern yet; at the end it is well."""
    with staged(rig, home) as stage, stage.gateway as gateway:
        yield stage
        assert gateway.settled_counter("handler-crashes") == 0
        assert "Traceback" not in gateway.output
