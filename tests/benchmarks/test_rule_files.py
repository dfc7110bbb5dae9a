"""The rule lists of the benchmark: valid, reproducible, and met by its flows as they say."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from support.engines import engine_of

from mihomo_tproxy.config import parse

BENCHMARKS = Path(__file__).resolve().parents[2] / "scripts" / "benchmarks"
SIZE = 200


@pytest.fixture
def rule_files(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    yield import_module("rule_files")
    for name in set(sys.modules) - before:
        if (BENCHMARKS / f"{name}.py").exists():
            del sys.modules[name]


def test_every_entry_is_a_rule_and_every_flow_meets_one(rule_files, tmp_path: Path) -> None:
    entries = rule_files.Entries.of_size(SIZE)
    assert entries == rule_files.Entries.of_size(SIZE)
    config = parse(rule_files.routing(entries, "lines").text({}), str(tmp_path))
    assert len(config.rules) == SIZE + len(rule_files.GEO_RULES) + 1
    engine = engine_of(config.rules)
    for kind, known in (("name", True), ("address", True), ("none", False)):
        flows = rule_files.flows(entries, kind, 50)
        assert len({repr(flow) for flow in flows}) == len(flows)
        for flow in flows:
            assert engine.line(engine.match(flow).rank).startswith("MATCH,") is not known
