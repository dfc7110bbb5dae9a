"""Every fuzz target with a bounded number of examples; `scripts/fuzz` gives them time."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis.strategies import binary

FUZZ = Path(__file__).parent / "fuzz"
TARGETS = sorted(path.stem for path in FUZZ.glob("*.py"))
EXAMPLES = 200


def load(name):
    spec = spec_from_file_location(f"fuzz_{name}", FUZZ / f"{name}.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_are_targets():
    assert TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_escapes(name):
    target = load(name).target

    @settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=True)
    @example(b"")
    @example(bytes(70_000))
    @example(b"\xff" * 70_000)
    @given(binary(max_size=4096))
    def try_target(data):
        assert target(data) is None

    try_target()
