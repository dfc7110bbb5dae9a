"""The guardian: cleans for a dead owner, and only for that one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from mihomo_tproxy.rig import state

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import pathlib, sys
from mihomo_tproxy.rig import guardian, state
state.STATE_DIR = pathlib.Path(sys.argv[1])
sys.exit(guardian.main(sys.argv[2:]))
"""


@pytest.fixture
def owner():
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


@pytest.fixture
def guard(tmp_path, owner):
    mine = state.State("g", "px", owner.pid, 1, {"gateway": "px-never-built"})
    (tmp_path / "g").mkdir()
    (tmp_path / "g.json").write_text(json.dumps(asdict(mine)))
    command = [sys.executable, "-c", PROGRAM, tmp_path, tmp_path / "g.json", str(owner.pid)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as process:
        yield process
        process.kill()


def test_it_cleans_when_the_pipe_ends(guard, tmp_path):
    guard.stdin.close()
    assert guard.wait(20) == 0
    assert list(tmp_path.glob("g*")) == []


def test_it_cleans_when_the_owner_dies_and_the_pipe_stays_open(guard, owner, tmp_path):
    owner.kill()
    owner.wait()
    assert guard.wait(20) == 0
    assert list(tmp_path.glob("g*")) == []


def test_another_rig_of_that_name_is_left_alone(guard, tmp_path):
    other = json.loads((tmp_path / "g.json").read_text()) | {"owner": os.getpid()}
    (tmp_path / "g.json").write_text(json.dumps(other))
    guard.stdin.close()
    assert guard.wait(20) == 0
    assert (tmp_path / "g.json").exists()


def test_nothing_is_left_to_do_after_an_orderly_end(guard, tmp_path):
    (tmp_path / "g.json").unlink()
    guard.stdin.close()
    assert guard.wait(20) == 0
