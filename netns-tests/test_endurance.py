"""Many reloads and many switches: what the processes hold afterwards."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from support.gateway import pss_kib, wait_until
from support.governed import group, staged

if TYPE_CHECKING:
    from support.governed import Governed

RELOADS = int(os.environ.get("ENDURANCE_RELOADS", "12"))
SWITCHES = int(os.environ.get("ENDURANCE_SWITCHES", "100"))
GROWTH_KIB = 1024
"""More than what one more reload may move about, less than what a kept configuration takes."""
PROVIDED = 3000
OFTEN = {"interval": 300, "lazy": True}


@pytest.fixture
def stage(rig, tmp_path):
    with staged(rig, tmp_path) as made:
        yield made


def descriptors(gateway: Governed) -> dict[int, int]:
    """How many each process has open, by its id."""
    pids = [gateway.process.pid, *gateway.workers()]
    return {pid: len(os.listdir(f"/proc/{pid}/fd")) for pid in pids}


def memory(gateway: Governed) -> dict[int, int]:
    """Proportional set sizes in KiB, by process id."""
    return {pid: pss_kib(pid) for pid in (gateway.process.pid, *gateway.workers())}


def lists(stage, number: int) -> dict[str, object]:
    """A configuration large enough for one that is kept to be seen, each a little different."""
    config = stage.config(
        group("G", "select", "a", "b", **OFTEN), group("Best", "fallback", "a", "b", **OFTEN)
    )
    rules = [f"DOMAIN-SUFFIX,n{number}-{index}.example,G" for index in range(PROVIDED)]
    return {**config, "rules": [*rules, "MATCH,G"]}


def test_reloads_and_switches_cost_nothing_that_stays(stage, tmp_path):
    with stage.another(tmp_path, group("G", "select", "a", "b", **OFTEN)) as gateway:
        for number in range(3):
            gateway.reload(lists(stage, number))
        wait_until(gateway.keeper, "the keeper")
        held, used = descriptors(gateway), memory(gateway)
        for number in range(RELOADS):
            gateway.reload(lists(stage, number))
        print("PSS after reloads:", used, memory(gateway))
        for number in range(SWITCHES):
            gateway.select("G", "ba"[number % 2])
        print("PSS after switches:", memory(gateway), held, descriptors(gateway))
        assert stage.carrier() == gateway.now("G")
        wait_until(lambda: descriptors(gateway) == held, "descriptors as before")
        assert all(kib < used[pid] + GROWTH_KIB for pid, kib in memory(gateway).items())


def test_a_worker_that_comes_back_holds_what_the_first_one_held(stage, tmp_path):
    """Nothing of the supervisor's: its control socket, the keeper's, clients that wait."""
    with stage.another(tmp_path, group("G", "fallback", "a", "b", **OFTEN)) as gateway:
        wait_until(gateway.keeper, "the keeper")
        keeper = gateway.keeper()
        (worker,) = set(gateway.workers()) - {keeper}
        before = descriptors(gateway)[worker]
        os.kill(worker, signal.SIGKILL)
        gateway.wait_log("worker 0 is back")
        (after,) = set(gateway.workers()) - {keeper}
        assert descriptors(gateway)[after] == before
        assert stage.carrier() == "a"
