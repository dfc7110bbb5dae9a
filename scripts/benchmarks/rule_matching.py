"""A rule list without a gateway around it: the stages of its compilation, the time of a decision.

The list is compiled in a forked child, as the gateway does it, and decisions are timed in a process
that maps what came of it, with the collector frozen. One pair of clock readings is put around each
decision; what an empty pair reads is subtracted. Every decision is timed once, for a flow that is
made right before: these are distributions over flows, not the best of many.
"""

from __future__ import annotations

import gc
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from mmap import PROT_READ, mmap
from typing import TYPE_CHECKING, Any, Final

from rule_files import Entries, flows

from mihomo_tproxy.children import run_in_child
from mihomo_tproxy.model.metadata import RequestMetadata
from mihomo_tproxy.rule.engine import Engine
from mihomo_tproxy.rule.image import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from harness import Sample

WARM_UP: Final = 2_000


def measure(size: int, path: Path, home: Path, count: int) -> Sample:
    """Compiles a file and decides `count` flows of each kind, in a process of its own."""
    command = [sys.executable, __file__, str(size), str(path), str(home), str(count)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    sample: Sample = json.loads(done.stdout)
    return sample


def _compile(path: str, home: str, image: int) -> Sample:
    """Stages in seconds, the child's peak in MB. What a stage imports is part of it."""
    from mihomo_tproxy.config import toplevel, yaml
    from mihomo_tproxy.config.compiling import compile_config, write_image
    from mihomo_tproxy.config.rule_providers import RuleProviders
    from mihomo_tproxy.geo.data import GeoData

    began = time.perf_counter()
    document = yaml.load_file(path)
    parsed = time.perf_counter()
    lists = [0.0]
    for owner, name in ((GeoData, "geosite"), (GeoData, "geoip"), (RuleProviders, "content")):
        setattr(owner, name, _counted(getattr(owner, name), lists))
    config = toplevel.parse_document(document, home)
    built = time.perf_counter()
    write_image(config, image)
    written = time.perf_counter()
    compile_config(config)
    ended = time.perf_counter()
    return {
        "compile: yaml": parsed - began,
        "compile: providers, geo": lists[0],
        "compile: rules": built - parsed - lists[0],
        "compile: image": written - built,
        "compile: static": ended - written,
        "compile: all": ended - began,
        "compile: peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }


def _counted(function: Callable[..., Any], total: list[float]) -> Callable[..., Any]:
    def timed(*arguments: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            total[0] += time.perf_counter() - began

    return timed


def _arrived(flow: RequestMetadata) -> RequestMetadata:
    """The flow anew, texts and all: one that comes in was just made, and nobody hashed it yet."""
    source, destination, host = (
        text.encode().decode() for text in (flow.source, flow.destination, flow.host)
    )
    return RequestMetadata(
        flow.network,
        flow.inbound,
        source,
        flow.source_port,
        destination,
        flow.destination_port,
        host,
    )


def _times(engine: Engine, flows: Sequence[Any]) -> list[int]:
    """Nanoseconds of each decision, those of the clock included."""
    clock, match = time.perf_counter_ns, engine.match
    times = []
    for each in flows:
        flow = _arrived(each)
        began = clock()
        match(flow)
        times.append(clock() - began)
    return times


def _overhead() -> float:
    clock = time.perf_counter_ns
    times = []
    for _ in range(20_000):
        began = clock()
        times.append(clock() - began)
    return statistics.median(times)


def _decisions(engine: Engine, size: int, count: int) -> Sample:
    entries = Entries.of_size(size)
    known = {
        "name": flows(entries, "name", count),
        "address": flows(entries, "address", count),
        "last rule": [
            flow
            for flow in flows(entries, "none", count + count // 4)
            if engine.line(engine.match(flow).rank).startswith("MATCH,")
        ][:count],
    }
    mixed = [flow for some in known.values() for flow in some[: count // 3 + 1]]
    random.Random(size).shuffle(mixed)
    gc.collect()
    gc.freeze()
    gc.disable()
    overhead = _overhead()
    sample: Sample = {"clock": overhead / 1e3, "image": 0.0}
    for kind, chosen in (*known.items(), ("mixed", mixed)):
        _times(engine, chosen[:WARM_UP])
        times = sorted(max(0.0, each - overhead) / 1e3 for each in _times(engine, chosen))
        sample[f"{kind}: p50"] = times[len(times) // 2]
        sample[f"{kind}: p99"] = times[len(times) * 99 // 100]
        sample[f"{kind}: max"] = times[-1]
    return sample


def main_of_child(size: int, path: str, home: str, count: int) -> None:
    """Prints the sample."""
    descriptor = os.memfd_create("rules")
    stages = run_in_child(lambda: _compile(path, home, descriptor), "the compilation")
    length = os.fstat(descriptor).st_size
    image = Image(mmap(descriptor, length, prot=PROT_READ))
    sample = {**stages, **_decisions(Engine(image), size, count), "image": length / 1e6}
    json.dump(sample, sys.stdout)


if __name__ == "__main__":
    main_of_child(int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
