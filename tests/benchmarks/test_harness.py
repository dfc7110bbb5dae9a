"""What the harness makes of samples: medians, ratios, verdicts and the JSON others read."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "scripts" / "benchmarks"


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield import_module("harness")
    sys.modules.pop("harness")


def judged(harness: Any, better: str, target: float | None, ours: list[float], other: list[float]):
    results = harness.Results()
    for value in ours:
        results.add("ours", {"rate": value})
    for value in other:
        results.add("plain", {"rate": value})
    metric = harness.Metric("rate", "1/s", better)
    return harness.judge(results, [harness.Comparison("case", "ours", "plain", metric, target)])


@pytest.mark.parametrize(
    ("better", "ours", "met"),
    [("higher", 97, True), ("higher", 96, False), ("lower", 97, True), ("lower", 98, False)],
)
def test_a_target_bounds_the_ratio_from_its_side(harness, better, ours, met) -> None:
    (verdict,) = judged(harness, better, 0.97, [ours], [100.0])
    assert verdict.ratio == ours / 100
    assert verdict.met is met


def test_the_medians_of_the_rounds_are_compared(harness) -> None:
    (verdict,) = judged(harness, "higher", 1.0, [1.0, 50.0, 1000.0], [10.0, 20.0, 25.0])
    assert (verdict.ours, verdict.other, verdict.ratio) == (50.0, 20.0, 2.5)


def test_nothing_to_divide_by_is_neither_met_nor_missed(harness) -> None:
    (verdict,) = judged(harness, "lower", 0.5, [3.0], [0.0])
    assert verdict.ratio is None
    assert verdict.met is None


def test_a_floor_is_taken_from_both_sides(harness) -> None:
    results = harness.Results()
    for name, value in (("ours", 12.0), ("mihomo", 18.0), ("plain", 10.0)):
        results.add(name, {"p50": value})
    metric = harness.Metric("p50", "us", "lower")
    comparison = harness.Comparison("case", "ours", "mihomo", metric, floor="plain")
    (verdict,) = harness.judge(results, [comparison])
    assert (verdict.ours, verdict.other, verdict.ratio) == (2.0, 8.0, 0.25)


def test_what_was_not_measured_is_left_out(harness) -> None:
    assert judged(harness, "lower", 0.5, [3.0], []) == []


def test_json_has_the_fields_others_read(harness, tmp_path: Path) -> None:
    verdicts = judged(harness, "higher", 0.95, [9.0], [10.0])
    harness.write_json(tmp_path / "out.json", verdicts)
    assert json.loads((tmp_path / "out.json").read_text()) == [
        {
            "case": "case",
            "metric": "rate",
            "unit": "1/s",
            "ours": 9.0,
            "other": 10.0,
            "other_name": "plain",
            "ratio": 0.9,
            "target": 0.95,
            "better": "higher",
        }
    ]


def test_a_missed_target_is_shown_as_missed(harness, capsys: pytest.CaptureFixture[str]) -> None:
    harness.print_verdicts(judged(harness, "higher", 0.95, [9.0], [10.0]))
    printed = capsys.readouterr().out
    assert ">= 0.95  MISSED" in printed
    assert "1 targets, 1 missed" in printed


def test_rounds_interleave_and_rotate(harness) -> None:
    order: list[str] = []
    contenders = [SimpleNamespace(name=name) for name in "abc"]

    def load(contender: Any) -> dict[str, float]:
        order.append(contender.name)
        return {"rate": float(len(order))}

    results = harness.Results()
    workloads = [harness.Workload("first", load), harness.Workload("second", load)]
    harness.run_rounds(contenders, workloads, 2, results)
    assert "".join(order) == "abcabc" + "bcabca"
    assert results.samples("a", "rate") == [1.0, 4.0, 9.0, 12.0]
