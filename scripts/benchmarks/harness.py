"""The common part of all benchmarks: interleaved rounds, medians, comparisons, table and JSON.

A benchmark measures *contenders* (ways through a gateway) with *workloads*. All contenders are up
at the same time, each in a rig of its own, and every workload runs on one contender after the other
before the next workload begins, in an order that rotates from round to round. So what the machine
does meanwhile meets all of them alike, and what is judged are ratios of medians within one run.

The JSON file is a list of
{"case", "metric", "unit", "ours", "other", "other_name", "ratio", "target", "better"};
ratio is ours / other (null when other is 0), target null where nothing was promised.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import accounting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mihomo_tproxy.rig import Rig

BUSY_LOOK_S = 1.0
BUSY_SHARE = 0.1

Better = Literal["higher", "lower"]
Sample = dict[str, float]
"""Values by metric."""


class Contender(Protocol):
    """One way through a gateway."""

    name: str
    rig: Rig
    descriptors_per_flow: int
    """What one idle TCP flow takes from the limit of open files of a process."""

    def start(self) -> None:
        """Brings it up in the gateway of its rig; returns when traffic takes this way."""

    def stop(self) -> None:
        """Ends it and takes what it did to the gateway back."""

    def pids(self) -> list[int]:
        """The roots of its process trees; empty when the kernel does it alone."""


class Workload(NamedTuple):
    """One thing to measure."""

    name: str
    run: Callable[[Contender], Sample]


class Metric(NamedTuple):
    """A value some workload yields, and how to print it."""

    key: str
    unit: str
    better: Better
    digits: int = 1


class Comparison(NamedTuple):
    """Ours against another contender in one metric; `target` bounds the ratio ours / other."""

    case: str
    ours: str
    other: str
    metric: Metric
    target: float | None = None
    floor: str | None = None
    """A contender whose median both sides are reduced by: what they add to what it costs anyway."""


class Options(NamedTuple):
    """What the command line of a benchmark says."""

    rounds: int
    quick: bool
    json: Path | None
    only: tuple[str, ...] = ()
    """Which of the benchmark's parts to run; all of them by default."""


def parse_options(description: str, parts: Sequence[str] = ()) -> Options:
    """The options every benchmark has; one that has parts can be told to run some `--only`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, help="rounds of every workload (3; --quick: 1)")
    parser.add_argument("--quick", action="store_true", help="small loads: shows that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the comparisons here")
    if parts:
        parser.add_argument("--only", metavar="PART,...", help=f"some of {', '.join(parts)}")
    given = parser.parse_args()
    only = tuple(given.only.split(",")) if parts and given.only else tuple(parts)
    for part in only:
        if part not in parts:
            parser.error(f"--only: there is no {part!r}; it is some of {', '.join(parts)}")
    rounds = given.rounds if given.rounds is not None else (1 if given.quick else 3)
    if rounds < 1:
        parser.error("--rounds must be at least 1")
    return Options(rounds, given.quick, given.json, only)


class Results:
    """Samples by contender and metric."""

    def __init__(self) -> None:
        self._samples: dict[tuple[str, str], list[float]] = {}

    def add(self, contender: str, sample: Sample) -> None:
        """Takes one run's values."""
        for metric, value in sample.items():
            self._samples.setdefault((contender, metric), []).append(value)

    def samples(self, contender: str, metric: str) -> list[float]:
        """Every value measured, in order; empty when it was not."""
        return self._samples.get((contender, metric), [])

    def median(self, contender: str, metric: str) -> float | None:
        """The median over the rounds; None when it was not measured."""
        values = self.samples(contender, metric)
        return statistics.median(values) if values else None


def run_rounds(
    contenders: Sequence[Contender], workloads: Sequence[Workload], rounds: int, results: Results
) -> None:
    """Measures everything `rounds` times, interleaved. Progress goes to standard error."""
    for turn in range(rounds):
        first = turn % len(contenders)
        order = [*contenders[first:], *contenders[:first]]
        for workload in workloads:
            for contender in order:
                progress(f"round {turn + 1}/{rounds}: {workload.name}, {contender.name}")
                results.add(contender.name, workload.run(contender))


def warn_when_busy() -> None:
    """Says so when the machine is at work before anything was measured: it blurs every figure."""
    before = accounting.machine_cpu_s()
    time.sleep(BUSY_LOOK_S)
    share = (accounting.machine_cpu_s() - before) / BUSY_LOOK_S / (os.cpu_count() or 1)
    if share > BUSY_SHARE:
        progress(f"the machine is {share:.0%} busy with other work: expect blurred figures")


_begun = time.monotonic()


def progress(message: str) -> None:
    """One line for the person who waits, with the seconds since the start."""
    print(f"[{time.monotonic() - _begun:5.1f} s] {message}", file=sys.stderr, flush=True)


class Verdict(NamedTuple):
    """A comparison with its figures."""

    comparison: Comparison
    ours: float
    other: float

    @property
    def ratio(self) -> float | None:
        """Ours / other, None when there is nothing to divide by."""
        return self.ours / self.other if self.other else None

    @property
    def met(self) -> bool | None:
        """Whether the target is met, None without one."""
        target, ratio = self.comparison.target, self.ratio
        if target is None or ratio is None:
            return None
        return ratio >= target if self.comparison.metric.better == "higher" else ratio <= target


def judge(results: Results, comparisons: Iterable[Comparison]) -> list[Verdict]:
    """The comparisons for which both sides were measured."""
    verdicts = []
    for comparison in comparisons:
        ours = results.median(comparison.ours, comparison.metric.key)
        other = results.median(comparison.other, comparison.metric.key)
        floor = 0.0
        if comparison.floor is not None:
            floor = results.median(comparison.floor, comparison.metric.key) or 0.0
        if ours is not None and other is not None:
            verdicts.append(Verdict(comparison, ours - floor, other - floor))
    return verdicts


def write_json(path: Path, verdicts: Iterable[Verdict]) -> None:
    """The verdicts as the list of objects the module docstring describes."""
    rows = [
        {
            "case": verdict.comparison.case,
            "metric": verdict.comparison.metric.key,
            "unit": verdict.comparison.metric.unit,
            "ours": verdict.ours,
            "other": verdict.other,
            "other_name": verdict.comparison.other,
            "ratio": verdict.ratio,
            "target": verdict.comparison.target,
            "better": verdict.comparison.metric.better,
        }
        for verdict in verdicts
    ]
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def print_medians(results: Results, contenders: Sequence[str], metrics: Iterable[Metric]) -> None:
    """Metric by contender: median, and the range over the rounds."""
    rows = [["median (lowest..highest)", "unit", *contenders]]
    for metric in metrics:
        cells = [_spread(results.samples(name, metric.key), metric.digits) for name in contenders]
        rows.append([metric.key, metric.unit, *cells])
    _print_table(rows)


def print_verdicts(verdicts: Sequence[Verdict]) -> None:
    """Each comparison with its target, and a last line that counts what was missed."""
    rows = [["case", "metric", "unit", "ours", "other", "ratio", "target", ""]]
    for verdict in verdicts:
        case, _, other, metric, target, _ = verdict.comparison
        ratio = "-" if verdict.ratio is None else f"{verdict.ratio:.3f}"
        bound = (
            "" if target is None else f"{'>=' if metric.better == 'higher' else '<='} {target:g}"
        )
        rows.append(
            [
                f"{case} vs {other}",
                metric.key,
                metric.unit,
                f"{verdict.ours:.{metric.digits}f}",
                f"{verdict.other:.{metric.digits}f}",
                ratio,
                bound,
                {True: "met", False: "MISSED", None: ""}[verdict.met],
            ]
        )
    _print_table(rows)
    promised = [verdict for verdict in verdicts if verdict.met is not None]
    missed = sum(not verdict.met for verdict in promised)
    print(f"{len(promised)} targets, {missed} missed")


def _spread(values: list[float], digits: int) -> str:
    if not values:
        return "-"
    middle = f"{statistics.median(values):.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):.{digits}f}..{max(values):.{digits}f})"


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line.rstrip())
    print()
