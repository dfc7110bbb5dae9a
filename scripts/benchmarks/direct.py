"""scripts/bench direct: what DIRECT costs, in the kernel and in user space.

Contenders: plain kernel forwarding; ours with the verdict decided in the kernel; ours with the
verdict cache off, so that every flow is relayed, with one worker and with two; mihomo's TPROXY,
which uses every processor. Kernel-DIRECT is held against plain forwarding, user-space DIRECT
against mihomo.

Memory is measured first and apart, on freshly started contenders: what a load leaves behind in an
allocator depends on the load.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

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
from peers import Mihomo, OurGateway, PlainForwarding

from mihomo_tproxy.errors import GatewayError
from mihomo_tproxy.rig import Rig

if TYPE_CHECKING:
    from harness import Contender

IDLE_FLOWS = 5_000
KERNEL, USER, USER_2 = "kernel-direct", "user-direct", "user-direct, 2 workers"
PLAIN, MIHOMO = "plain", "mihomo"


def _metric(key: str, unit: str, better: Better = "lower", digits: int = 1) -> Metric:
    return Metric(key, unit, better, digits)


TCP_1 = _metric("tcp 1 flow", "Gbit/s", "higher", 2)
TCP_8 = _metric("tcp 8 flows", "Gbit/s", "higher", 2)
TCP_1_CPU = _metric("tcp 1 flow: gateway CPU", "s/GB", digits=3)
TCP_8_CPU = _metric("tcp 8 flows: gateway CPU", "s/GB", digits=3)
TCP_1_MACHINE = _metric("tcp 1 flow: machine CPU", "s/GB", digits=3)
TCP_8_MACHINE = _metric("tcp 8 flows: machine CPU", "s/GB", digits=3)
RATE = _metric("connections", "1/s", "higher", 0)
P50 = _metric("connection p50", "ms", digits=2)
P99 = _metric("connection p99", "ms", digits=2)
P999 = _metric("connection p99.9", "ms", digits=2)
FAILED = _metric("connections failed", "", digits=0)
CONNECTION_CPU = _metric("connection: gateway CPU", "us")
CONNECTION_MACHINE = _metric("connection: machine CPU", "us")
UDP_P50 = _metric("udp p50", "us")
UDP_P99 = _metric("udp p99", "us")
UDP_P999 = _metric("udp p99.9", "us")
UDP_LOSS = _metric("udp loss", "%", digits=3)
UDP_CPU = _metric("udp: gateway CPU", "us")
MEMORY = _metric("memory idle", "MB")
MEMORY_FLOW = _metric("memory per idle flow", "KB", digits=2)

METRICS = [
    *(TCP_1, TCP_8, TCP_1_CPU, TCP_8_CPU, TCP_1_MACHINE, TCP_8_MACHINE),
    *(RATE, P50, P99, P999, FAILED, CONNECTION_CPU, CONNECTION_MACHINE),
    *(UDP_P50, UDP_P99, UDP_P999, UDP_LOSS, UDP_CPU, MEMORY, MEMORY_FLOW),
]

_USER_ROWS: list[tuple[Metric, float | None]] = [
    (TCP_1, 1.1),
    (TCP_8, 1.1),
    (TCP_1_CPU, None),
    (TCP_8_CPU, None),
    (RATE, 1.25),
    (P50, None),
    (P99, None),
    (P999, None),
    (FAILED, None),
    (CONNECTION_CPU, 0.65),
    (UDP_P50, 0.5),
    (UDP_P99, None),
    (UDP_P999, 0.5),
    (UDP_LOSS, None),
    (UDP_CPU, None),
    (MEMORY, 0.7),
    (MEMORY_FLOW, 0.3),
]
"""What user-space DIRECT is held against mihomo by; the targets are for the default, one worker."""

# Plain forwarding has no process in the gateway, so there is nothing to divide by: "no CPU per
# connection" is held against mihomo's. "Over plain" is what a relay adds to the round trip that
# client, server and kernel take without one.
COMPARISONS = [
    *(
        Comparison(KERNEL, KERNEL, PLAIN, metric, target)
        for metric, target in (
            (TCP_1, 0.97),
            (TCP_8, 0.97),
            (TCP_1_MACHINE, None),
            (TCP_8_MACHINE, None),
            (RATE, 0.95),
            (P50, None),
            (P99, None),
            (P999, None),
            (FAILED, None),
            (CONNECTION_CPU, None),
            (CONNECTION_MACHINE, None),
            (UDP_P50, 1.05),
            (UDP_P99, None),
            (UDP_P999, 1.2),
            (UDP_LOSS, None),
        )
    ),
    Comparison(KERNEL, KERNEL, MIHOMO, CONNECTION_CPU, 0.02),
    Comparison(f"{USER} over plain", USER, MIHOMO, UDP_P50, floor=PLAIN),
    Comparison(f"{USER} over plain", USER, MIHOMO, P50, floor=PLAIN),
    *(Comparison(USER, USER, MIHOMO, metric, target) for metric, target in _USER_ROWS),
    *(Comparison(USER_2, USER_2, MIHOMO, metric, None) for metric, _ in _USER_ROWS),
]


def _workloads(quick: bool) -> list[Workload]:
    seconds, count, udp_seconds = (1, 1_000, 1) if quick else (2, 8_000, 3)
    # Twice in a round: the finer the contenders interleave, the less a busy moment weighs.
    return (1 if quick else 2) * [
        Workload("TCP, 1 flow", lambda who: workloads.throughput(who, 1, seconds)),
        Workload("TCP, 8 flows", lambda who: workloads.throughput(who, 8, seconds)),
        Workload("connections", lambda who: workloads.connections(who, count, 50)),
        Workload("UDP echo", lambda who: workloads.datagrams(who, 50, 60, 100, udp_seconds)),
    ]


def _measure_memory(contenders: list[Contender], rounds: int, flows: int, results: Results) -> None:
    """Memory of each contender, freshly started in every round."""
    for turn in range(rounds):
        for contender in contenders:
            held = workloads.possible_flows(contender, flows)
            progress(f"round {turn + 1}/{rounds}: memory, {contender.name}, {held} flows")
            if held < flows:
                progress(f"the limit of open files (ulimit -n) does not allow {flows} flows")
            contender.start()
            try:
                results.add(contender.name, workloads.idle_memory(contender, held))
            finally:
                contender.stop()


def _measure(rounds: int, quick: bool, results: Results) -> list[str]:
    """Everything, into `results`; the contenders' names."""
    with ExitStack() as stack:
        rigs = [stack.enter_context(Rig.standard(clients=1)) for _ in range(5)]
        kernel = OurGateway(KERNEL, rigs[1], verdict_cache=True)
        user = OurGateway(USER, rigs[2], verdict_cache=False)
        user_2 = OurGateway(USER_2, rigs[3], verdict_cache=False, workers=2)
        mihomo = Mihomo(rigs[4])
        contenders: list[Contender] = [PlainForwarding(rigs[0]), kernel, user, user_2, mihomo]
        for rig in rigs:
            workloads.start_servers(rig)
        flows = IDLE_FLOWS // (10 if quick else 1)
        _measure_memory([user, user_2, mihomo], rounds, flows, results)
        for contender in contenders:
            progress(f"starting {contender.name}")
            contender.start()
            stack.callback(contender.stop)
        run_rounds(contenders, _workloads(quick), rounds, results)
        return [contender.name for contender in contenders]


def main() -> None:
    """Runs the benchmark and prints what came of it."""
    options = parse_options("What DIRECT costs: kernel, user space, plain forwarding, mihomo.")
    workloads.raise_descriptor_limit()
    workloads.build_tools()
    warn_when_busy()
    results = Results()
    try:
        names = _measure(options.rounds, options.quick, results)
    except GatewayError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    verdicts = judge(results, COMPARISONS)
    print_medians(results, names, METRICS)
    print_verdicts(verdicts)
    if options.json is not None:
        write_json(options.json, verdicts)


if __name__ == "__main__":
    main()
