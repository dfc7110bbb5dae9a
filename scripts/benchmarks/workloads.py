"""The loads that are sent through a gateway, each yielding a sample of metrics.

Clients run in the rig's first client, servers in its internet node: iperf3 from the distribution,
and `loadgen.c`, `loadserver.c` beside this file, compiled into .build when they are newer than what
is there. Nothing passes but through the gateway between them.

A load that cannot be carried out raises; a load that loses connections or datagrams says how many
in its sample, because a gateway that drops what is slow looks fast.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import accounting

if TYPE_CHECKING:
    from harness import Contender, Sample

    from mihomo_tproxy.rig import Rig

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / ".build"

HTTP_PORT = 8080
HTTP_BODY_BYTES = 1024
UDP_PORT = 8081
HOLD_PORT = 8082
IPERF_PORT = 5201
SERVER_NUMBER = 10
"""Which of the internet's addresses the servers are reached by."""
DESCRIPTORS = 100_000
SPARE_DESCRIPTORS = 500
SETTLE_S = 1.0
GB = 1e9


def raise_descriptor_limit() -> None:
    """Lets this process and all it starts, every contender alike, hold enough sockets."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, max(DESCRIPTORS, hard)))
    except ValueError:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def build_tools() -> None:
    """Compiles the load generator and the servers when needed. Exits when there is no compiler."""
    BUILD.mkdir(exist_ok=True)
    here = Path(__file__).parent
    for name in ("loadgen", "loadserver"):
        sources = [here / f"{name}.c", here / "loadgen.h"]
        binary = BUILD / name
        if binary.exists() and binary.stat().st_mtime > max(s.stat().st_mtime for s in sources):
            continue
        compiler = shutil.which("cc")
        if compiler is None:
            sys.exit("bench: no C compiler: run scripts/setup --dev")
        subprocess.run([compiler, "-O2", "-Wall", "-o", binary, sources[0]], check=True)


def _bound(argv: list[str], *, client: bool) -> list[str]:
    """The command, bound to the processor of its end."""
    usable = sorted(os.sched_getaffinity(0))
    return ["taskset", "-c", str(usable[0 if client else -1]), *argv]


def start_servers(rig: Rig) -> None:
    """Starts everything the loads talk to; it ends with the rig."""
    server = str(BUILD / "loadserver")
    for port, network, argv in (
        (HTTP_PORT, "tcp", [server, "http", str(HTTP_PORT), str(HTTP_BODY_BYTES)]),
        (UDP_PORT, "udp", [server, "udp-echo", str(UDP_PORT)]),
        (HOLD_PORT, "tcp", [server, "hold", str(HOLD_PORT)]),
        (IPERF_PORT, "tcp", ["iperf3", "-s", "-p", str(IPERF_PORT)]),
    ):
        rig.internet.start(_bound(argv, client=False)).wait_for_port(port, network)


def _client(rig: Rig, argv: list[str], timeout: float) -> Any:
    """Runs a client that prints JSON."""
    return json.loads(rig.clients[0].run(_bound(argv, client=True), timeout=timeout).stdout)


def _loadgen(rig: Rig, mode: str, port: int, *arguments: object) -> list[str]:
    target = rig.destination(SERVER_NUMBER)
    return [str(BUILD / "loadgen"), mode, target, str(port), *map(str, arguments)]


def throughput(contender: Contender, flows: int, seconds: int, *, down: bool = False) -> Sample:
    """Bulk TCP from the client, `flows` at a time: received Gbit/s and CPU seconds per 10^9 B.

    With `down` the server sends, and the metrics are called so.
    """
    target = contender.rig.destination(SERVER_NUMBER)
    argv = ["iperf3", "-c", target, "-p", str(IPERF_PORT), "-J", "-t", str(seconds)]
    argv += ["-R"] if down else []
    before, machine = accounting.cpu_s(contender.pids()), accounting.machine_cpu_s()
    report = _client(contender.rig, [*argv, "-P", str(flows)], timeout=seconds + 20)
    cpu = accounting.cpu_s(contender.pids()) - before
    busy = accounting.machine_cpu_s() - machine
    received = report["end"]["sum_received"]
    name = f"tcp {flows} flow{'s' if flows > 1 else ''}{' down' if down else ''}"
    return {
        name: received["bits_per_second"] / 1e9,
        f"{name}: gateway CPU": cpu / (received["bytes"] / GB),
        f"{name}: machine CPU": busy / (received["bytes"] / GB),
    }


def connections(contender: Contender, count: int, concurrency: int) -> Sample:
    """Connect, one small request, close: connections/s, their latency in ms, CPU in us for each."""
    argv = _loadgen(contender.rig, "http", HTTP_PORT, count, concurrency, "/")
    before, machine = accounting.cpu_s(contender.pids()), accounting.machine_cpu_s()
    report = _client(contender.rig, argv, timeout=120)
    cpu = accounting.cpu_s(contender.pids()) - before
    busy = accounting.machine_cpu_s() - machine
    return {
        "connections": report["rate"],
        "connection p50": report["p50"] / 1e3,
        "connection p99": report["p99"] / 1e3,
        "connection p99.9": report["p99.9"] / 1e3,
        "connections failed": sum(report["errors"].values()),
        "connection: gateway CPU": cpu / count * 1e6,
        "connection: machine CPU": busy / count * 1e6,
    }


def datagrams(
    contender: Contender, sockets: int, hz: int, size: int, seconds: int, warmup: int = 0
) -> Sample:
    """UDP echo at a steady rate: round trip in us, loss in percent.

    The latencies of the first `warmup` seconds, in which a proxy sets up what it needs for a client
    port, do not count; their CPU does.
    """
    argv = _loadgen(contender.rig, "udp", UDP_PORT, sockets, hz, size, seconds, warmup)
    before = accounting.cpu_s(contender.pids())
    report = _client(contender.rig, argv, timeout=warmup + seconds + 20)
    cpu = accounting.cpu_s(contender.pids()) - before
    return {
        "udp p50": report["p50"],
        "udp p99": report["p99"],
        "udp p99.9": report["p99.9"],
        "udp loss": 100 * (1 - report["ok"] / report["tried"]),
        "udp: gateway CPU": cpu / (sockets * hz * (warmup + seconds)) * 1e6,
    }


def possible_flows(contender: Contender, wanted: int) -> int:
    """`wanted`, or what the limit of open files lets this contender hold."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    usable = limit - SPARE_DESCRIPTORS
    return min(wanted, usable // max(1, contender.descriptors_per_flow))


def idle_memory(contender: Contender, flows: int) -> Sample:
    """Memory of a contender just started, in MB, and what one idle flow adds, in KB."""
    time.sleep(SETTLE_S)
    before = accounting.memory_bytes(contender.pids())
    holder = contender.rig.clients[0].start(_loadgen(contender.rig, "idle", HOLD_PORT, flows))
    try:
        holder.wait_for_line(r"^\{.*\}$", timeout=60)
        opened = json.loads(holder.output)["ok"]
        if opened != flows:
            raise RuntimeError(f"{contender.name}: {opened} of {flows} idle flows: {holder.output}")
        time.sleep(SETTLE_S)
        after = accounting.memory_bytes(contender.pids())
    finally:
        holder.stop()
    return {"memory idle": before / 1e6, "memory per idle flow": (after - before) / flows / 1e3}
