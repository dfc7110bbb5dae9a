"""scripts/bench rules: what long rule lists cost: to load, to hold, to ask.

Lists of three sizes, in two forms (`rule_files`), each with geo lists and MATCH behind them. A
gateway is started with each and with no rules at all in turn; what it needs more is the list's.
Load time ends when the gateway is ready, for mihomo when its port answers: it has read `rules` by
then, but reads providers later, so the CPU time of the whole start stands beside it. Memory is
taken when CPU time has come to rest. Of our image of the rules only what was touched is mapped
then; "memory at most" has all of it besides, as if flows had touched every rule. How long a
decision takes is measured apart (`rule_matching`), for ours only.

Lists from a geo database are kept between starts, as on a machine that starts the second time;
"first load" is measured with none kept.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import time
from typing import TYPE_CHECKING, Final

import accounting
import rule_matching
import workloads
from harness import (
    Comparison,
    Metric,
    Results,
    judge,
    parse_options,
    print_medians,
    print_verdicts,
    progress,
    warn_when_busy,
    write_json,
)
from peers import Mihomo, OurGateway
from rule_files import BARE, FORMS, Entries, link_geo_files, routing, write_providers

from mihomo_tproxy.errors import GatewayError
from mihomo_tproxy.rig import Rig

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness import Options, Sample, Verdict
    from peers import Routing
    from rule_files import Form

OURS, MIHOMO, PROMISED = "ours", "mihomo", "promised"
SIZES: Final = (100, 10_000, 100_000)
FLOWS: Final = 24_000
REST_S: Final = 0.5
REST_CPU_S: Final = 0.02
REST_TIMEOUT_S: Final = 30.0
PROMISES: Final = {"load": 2.0, "first load": 2.0, "mixed: p99": 5.0, "name: p99": 5.0}
PROMISES_WORST: Final = {"address: p99": 5.0, "last rule: p99": 5.0}
"""At the largest size."""

LOAD: Final = Metric("load", "s", "lower", 2)
FIRST_LOAD: Final = Metric("first load", "s", "lower", 2)
CPU: Final = Metric("load: CPU", "s", "lower", 2)
MEMORY: Final = Metric("memory", "MB", "lower")
MOST: Final = Metric("memory at most", "MB", "lower")
IMAGE: Final = Metric("image", "MB", "lower")
PEAK: Final = Metric("compile: peak", "MB", "lower")
STAGES: Final = tuple(
    Metric(f"compile: {stage}", "s", "lower", 2)
    for stage in ("yaml", "rules", "providers, geo", "image", "static", "all")
)
TIMES: Final = tuple(
    Metric(f"{kind}: {part}", "us", "lower", 2)
    for kind in ("name", "address", "last rule", "mixed")
    for part in ("p50", "p99", "max")
)
METRICS: Final = (LOAD, FIRST_LOAD, CPU, MEMORY, MOST, IMAGE, *STAGES, PEAK, *TIMES)


class Gateway:
    """One of the two, started again and again with other rules."""

    def __init__(self, name: str, rig: Rig, make: Callable[[Routing], OurGateway | Mihomo]) -> None:
        self.name = name
        self.home = rig.gateway.directory / ("mihomo-tproxy" if name == OURS else "mihomo")
        self._make = make
        self.home.mkdir(exist_ok=True)
        link_geo_files(self.home)

    def load(self, rules: Routing) -> Sample:
        """Seconds until it is ready, CPU seconds and MB when it has come to rest."""
        gateway = self._make(rules)
        began = time.monotonic()
        gateway.start()
        try:
            ready = time.monotonic() - began
            cpu = _rest(gateway.pids())
            memory = accounting.memory_bytes(gateway.pids()) / 1e6
        finally:
            gateway.stop()
        return {LOAD.key: ready, CPU.key: cpu, MEMORY.key: memory}

    def forget(self) -> None:
        """Removes what was kept of the databases."""
        shutil.rmtree(self.home / "geo-cache", ignore_errors=True)


def _rest(pids: list[int]) -> float:
    """The CPU seconds used, when no more are."""
    deadline = time.monotonic() + REST_TIMEOUT_S
    used = accounting.cpu_s(pids)
    while time.monotonic() < deadline:
        time.sleep(REST_S)
        before, used = used, accounting.cpu_s(pids)
        if used - before < REST_CPU_S:
            break
    return used


def _gateways(rigs: tuple[Rig, Rig]) -> list[Gateway]:
    def ours(rules: Routing) -> OurGateway:
        return OurGateway(OURS, rigs[0], verdict_cache=True, routing=rules)

    def mihomo(rules: Routing) -> Mihomo:
        return Mihomo(rigs[1], rules)

    return [Gateway(OURS, rigs[0], ours), Gateway(MIHOMO, rigs[1], mihomo)]


def _case(size: int, form: Form) -> str:
    return f"{size:,} {form}"


def _measure(gateways: list[Gateway], options: Options) -> dict[str, Results]:
    sizes = (100, 1_000) if options.quick else SIZES
    entries = {size: Entries.of_size(size) for size in sizes}
    results = {_case(size, form): Results() for size in sizes for form in FORMS}
    for gateway in gateways:
        gateway.load(BARE)  # what is only ever done once: bytecode, file caches
    for turn in range(options.rounds):
        order = gateways if turn % 2 else gateways[::-1]
        for size in sizes:
            for gateway in gateways:
                write_providers(entries[size], gateway.home)
            for form in FORMS:
                rules = routing(entries[size], form)
                case = _case(size, form)
                found = {}
                for gateway in order:
                    progress(f"round {turn + 1}/{options.rounds}: {case}, {gateway.name}")
                    found[gateway.name] = _loaded(gateway, rules)
                progress(f"round {turn + 1}/{options.rounds}: {case}, decisions")
                home = gateways[0].home
                count = FLOWS // (10 if options.quick else 1)
                sample = rule_matching.measure(size, home / "config.yaml", home, count)
                memory = {name: each[MEMORY.key] for name, each in found.items()}
                memory[OURS] += sample[IMAGE.key]
                for name, each in found.items():
                    results[case].add(name, {**each, MOST.key: memory[name]})
                results[case].add(OURS, sample)
    return results


def _loaded(gateway: Gateway, rules: Routing) -> Sample:
    """What the rules need more than none."""
    bare = gateway.load(BARE)
    gateway.forget()
    first = gateway.load(rules)
    found = gateway.load(rules) if gateway.name == OURS else first
    sample = {key: found[key] - bare[key] for key in found}
    return {**sample, FIRST_LOAD.key: first[LOAD.key] - bare[LOAD.key]}


def _verdicts(case: str, results: Results, *, largest: bool) -> list[Verdict]:
    promises = {**PROMISES, **PROMISES_WORST} if largest else PROMISES
    results.add(PROMISED, dict(promises))
    rows = [
        Comparison(case, OURS, PROMISED, metric, 1.0)
        for metric in METRICS
        if metric.key in promises
    ]
    rows += [Comparison(case, OURS, MIHOMO, metric) for metric in (LOAD, CPU)]
    rows += [Comparison(case, OURS, MIHOMO, metric, 1.0) for metric in (MEMORY, MOST)]
    return judge(results, rows)


def _report(results: dict[str, Results]) -> list[Verdict]:
    verdicts = []
    *_, last = results
    for case, found in results.items():
        print(f"{case}:")
        print_medians(found, [OURS, MIHOMO], METRICS)
        largest = case.split()[0] == last.split()[0]
        verdicts += _verdicts(case, found, largest=largest)
    clocks = [value for found in results.values() for value in found.samples(OURS, "clock")]
    print(f"of every decision's time {statistics.median(clocks):.3f} us, the clock's, are taken")
    return verdicts


def main() -> None:
    """Runs the benchmark and prints what came of it."""
    options = parse_options("What long rule lists cost: ours, mihomo.")
    warn_when_busy()
    workloads.raise_descriptor_limit()
    try:
        with Rig.standard(clients=1) as first, Rig.standard(clients=1) as second:
            results = _measure(_gateways((first, second)), options)
    except GatewayError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    verdicts = _report(results)
    print_verdicts(verdicts)
    if options.json is not None:
        write_json(options.json, verdicts)


if __name__ == "__main__":
    main()
