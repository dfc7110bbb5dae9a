"""The two programs of the differential test, with one file and one home directory each.

Both get the same text, see `listeners`; mihomo's decisions are read from its log, which says
rule and outbound of every flow at level info.
"""

from __future__ import annotations

import http.client
import json
import re
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from peers import mihomo_binary
from support.differential.internet import resolv_conf
from support.gateway import Gateway
from support.interop.client import gateway_block

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from support.differential.flow import Flow

    from mihomo_tproxy.rig import Rig


class Listener(NamedTuple):
    """A port of `listeners`."""

    port: int
    kind: str
    http: bool = False
    """Whether it is spoken to by HTTP CONNECT."""


LISTENERS: Final = {
    "mixed": Listener(7890, "mixed"),
    "socks-in": Listener(7891, "socks"),
    "http-in": Listener(7892, "http", http=True),
    "mixed-http": Listener(7893, "mixed", http=True),
}
PASSWORDS: Final = {"alice": "wonder", "bob": "builder"}
READY_S: Final = 30.0
API_PORT: Final = 9090
TPROXY_PORT: Final = 7895
MARK: Final = 0x1EA
ROUTES: Final = 1234
"""Mark and routing table by which the LAN is steered to mihomo."""

_MIHOMO: Final[dict[str, Any]] = {
    "log-level": "info",
    "find-process-mode": "off",
    "geo-auto-update": False,
    "external-controller": f"127.0.0.1:{API_PORT}",
    "profile": {"store-selected": False, "store-fake-ip": False},
    "tproxy-port": TPROXY_PORT,
    "allow-lan": True,
}
_NFT: Final = f"""\
table inet mihomo {{{{
  chain prerouting {{{{
    type filter hook prerouting priority mangle; policy accept;
    iifname != {{lan}} return
    ip daddr {{{{ 192.168.0.0/16, 203.0.113.0/24 }}}} return
    ip6 daddr {{{{ fc00::/7, fe80::/10, ff00::/8, 2001:db8:113::/64 }}}} return
    meta l4proto tcp socket transparent 1 meta mark set {MARK} accept
    meta l4proto {{{{ tcp, udp }}}} meta mark set {MARK} tproxy to :{TPROXY_PORT} accept
  }}}}
}}}}
"""

_OURS: Final[dict[str, Any]] = {"log-level": "info"}


class Decided(NamedTuple):
    """What mihomo says about one flow."""

    rules: frozenset[int]
    """Where in the list the rule may stand: those that it prints alike. Empty when none matched."""
    kind: str
    """The rule's kind, as it prints it: `DomainSuffix`; "" when none matched."""
    chain: str
    """The outbound, with the group before it: `group[proxy]`."""


_MESSAGE = re.compile(r'msg=("\[(?:TCP|UDP)\] .*")')
_MATCH = re.compile(
    r"\[(TCP|UDP)\] (\S+?)(?:\(\S*\))? --> (?:\S+) "
    r"(?:doesn't match any rule|match (\w+)(?:\((.*)\))?) using (.+)"
)
_FAILED = re.compile(
    r"\[(TCP|UDP)\] dial (.+?) (?:\(match (\w+)/(.*)\) )?(\S+?)(?:\(\S*\))? --> \S+ error"
)


def listeners(login: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The entries; those named in `login` know users."""
    users = [{"username": name, "password": word} for name, word in PASSWORDS.items()]
    return [
        {
            "name": name,
            "type": listener.kind,
            "port": listener.port,
            "listen": "::",
            **({} if listener.http and listener.kind == "http" else {"udp": True}),
            "users": users if name in login else [],
        }
        for name, listener in LISTENERS.items()
    ]


@contextmanager
def mihomo(rig: Rig, home: Path, config: Mapping[str, Any]) -> Iterator[Mihomo]:
    """mihomo with a configuration, ready in the rig's gateway."""
    program = Mihomo(rig, home)
    program.start({**_MIHOMO, **config})
    try:
        yield program
    finally:
        program.stop()


class Mihomo:
    """One mihomo in the gateway's node."""

    def __init__(self, rig: Rig, home: Path) -> None:
        self._rig = rig
        self._home = home

    def start(self, config: Mapping[str, Any]) -> None:
        """Returns when the LAN is steered to it. Raises RigError with its log otherwise."""
        (self._home / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
        with resolv_conf(self._rig) as prefix:
            command = [*prefix, str(mihomo_binary()), "-d", str(self._home)]
            self._process = self._rig.gateway.start(command)
        for port in (*(listener.port for listener in LISTENERS.values()), TPROXY_PORT):
            self._process.wait_for_port(port, timeout=READY_S)
        gateway = self._rig.gateway
        for family in ("-4", "-6"):
            gateway.run(f"ip {family} rule add fwmark {MARK} lookup {ROUTES}")
            gateway.run(f"ip {family} route add local default dev lo table {ROUTES}")
        lan = f"{{ {', '.join(self._rig.lan_interfaces)} }}"
        gateway.run(["nft", "-f", "-"], stdin=_NFT.format(lan=lan))

    def stop(self) -> None:
        """Takes the steering back, and ends it."""
        gateway = self._rig.gateway
        gateway.run("nft delete table inet mihomo")
        for family in ("-4", "-6"):
            gateway.run(f"ip {family} rule del lookup {ROUTES}")
            gateway.run(f"ip {family} route flush table {ROUTES}")
        self._process.stop()

    @property
    def output(self) -> str:
        """Its log so far."""
        return self._process.output

    def decided(self) -> dict[tuple[str, str], Decided]:
        """Decisions by network and `address:port` of the source."""
        places = self._places()
        found = {}
        for line in _MESSAGE.findall(self.output):
            message = json.loads(line)
            if match := _MATCH.match(message):
                network, source, kind, payload, chain = match.groups(default="")
            elif match := _FAILED.match(message):
                network, chain, kind, payload, source = match.groups(default="")
            else:
                continue
            found[network.lower(), source] = Decided(places[kind, payload], kind, chain)
        return found

    def select(self, group: str, member: str) -> None:
        """Has a group choose a member."""
        self._ask("PUT", f"/proxies/{group}", json.dumps({"name": member}))

    def _ask(self, method: str, path: str, body: str = "") -> str:
        with self._rig.gateway.enter():
            connection = http.client.HTTPConnection("127.0.0.1", API_PORT, timeout=READY_S)
            with closing(connection):
                connection.request(method, path, body)
                answer = connection.getresponse()
                assert answer.status < 300, answer.reason
                return answer.read().decode()

    def _places(self) -> dict[tuple[str, str], frozenset[int]]:
        """Where in the list each rule stands, by kind and payload as they are printed."""
        rules = json.loads(self._ask("GET", "/rules"))["rules"]
        places: dict[tuple[str, str], set[int]] = {("", ""): set()}
        for number, rule in enumerate(rules):
            places.setdefault((rule["type"], rule["payload"]), set()).add(number)
        return {key: frozenset(numbers) for key, numbers in places.items()}


def source_of(rig: Rig, flow: Flow) -> tuple[str, str]:
    """The key of a flow in `Mihomo.decided`."""
    address = rig.clients[flow.client].address(flow.version)
    where = f"[{address}]" if flow.version == 6 else address
    return flow.network, f"{where}:{flow.source_port}"


@contextmanager
def ours(rig: Rig, home: Path, config: Mapping[str, Any]) -> Iterator[Gateway]:
    """Our gateway with a configuration, held at its end to what a stop promises."""
    gateway = Gateway(rig)
    gateway.file = home / "config.yaml"
    gateway.configure({**_OURS, **config})
    with resolv_conf(rig) as prefix:
        gateway.start(prefix=prefix)
    with gateway_block(gateway):
        yield gateway
