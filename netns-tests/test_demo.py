"""The demonstration: every flow goes as the rules say, and nothing of it stays."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mihomo_tproxy.dataplane.instance import RUN_DIR
from mihomo_tproxy.errors import RigError
from mihomo_tproxy.rig import host, state

COMMAND = [sys.executable, "-m", "mihomo_tproxy", "demo"]
ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_S = 50


@pytest.fixture(scope="module", autouse=True)
def root_only():
    """Skips where no rig can be built."""
    try:
        host.require_host()
    except RigError as error:
        pytest.skip(str(error))


def owned_by(pid):
    """The rigs that a process holds."""
    return [found for found in state.all_states() if found.owner == pid]


@pytest.fixture
def watched():
    """A demonstration that goes on, up to its first status line; its process and its rig."""
    process = subprocess.Popen(
        COMMAND, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        for line in process.stderr:
            if re.match("kernel .* relay ", line):
                break
        (rig,) = owned_by(process.pid)
        yield process, rig
    finally:
        process.kill()
        process.communicate()


def test_every_flow_goes_as_the_rules_say():
    done = subprocess.run(
        [*COMMAND, "--once", "--json"],
        cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["ok"]
    shown = {(flow["way"], flow["network"], flow["family"]) for flow in report["flows"]}
    for family in (4, 6):
        for way in (("kernel", "tcp"), ("kernel", "udp"), ("splice", "tcp"), ("relay", "udp"),
                    ("blocked", "tcp"), ("blocked", "udp")):  # fmt: skip
            assert (*way, family) in shown
    assert all(flow["received"] for flow in report["flows"] if flow["way"] != "blocked")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_nothing_stays(watched, number):
    process, rig = watched
    netns = host.netns_path(rig.namespaces["gateway"])
    instance = netns.stat().st_ino
    pins = [Path(pin) for pin in rig.pins]
    assert pins[0].exists()
    process.send_signal(number)
    process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    assert state.leftovers(rig.prefix) == []
    assert not any(pin.exists() for pin in pins)
    assert not Path(RUN_DIR, f"{instance}.json").exists()
    assert not rig.path.exists()
