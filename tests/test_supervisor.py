"""The supervisor between two configurations, with everybody it commands replaced by a notebook."""

from __future__ import annotations

import logging
import os
import signal

import pytest

from mihomo_tproxy import supervisor as module
from mihomo_tproxy.compiled import Compiled
from mihomo_tproxy.config.specs.group import GroupSpec, GroupType
from mihomo_tproxy.dataplane.plan import KernelPlan, Steered
from mihomo_tproxy.errors import DataplaneError
from mihomo_tproxy.model.enums import TunnelMode
from mihomo_tproxy.model.group_state import EMPTY_STATE, GroupState
from mihomo_tproxy.supervisor import Supervisor
from mihomo_tproxy.workers import WorkerRefused

PLAN = KernelPlan(
    patterns=("lan",), bypass=(), static=(), masks=(), include=(), exclude=(), include_macs=(),
    exclude_macs=(), workers=1, routing_mark=0, used_marks=0, cache=True, closed=False,
    private=False, ipv6=True, local=False,
)  # fmt: skip


def compiled(name: str, **changes: object) -> Compiled:
    group = GroupSpec("G", GroupType.SELECT, ("a", name))
    values = {
        "plan": PLAN, "worker": name.encode(), "modules": (name,), "rules": 1,
        "log_level": logging.INFO, "warnings": (), "mode": TunnelMode.RULE, "groups": (group,),
        "selected": {}, "keeper": False, "home": "",
    }  # fmt: skip
    return Compiled(**{**values, **changes})


class Workers:
    """Take what they are told, or refuse."""

    def __init__(self):
        self.refuses = False
        self.modules = ()
        self.setup = None
        self.seen = []
        """Configuration and epoch of each that somebody may have decided by."""

    def reload(self, setup, image):
        self.restore(setup, image)
        if self.refuses:
            raise WorkerRefused("worker 1: no")

    def restore(self, setup, image):
        os.fstat(image)
        self.setup = setup
        self.seen.append((setup.config, setup.epoch))


class Host:
    """The kernel, and the children that write to it."""

    def __init__(self):
        self.fails = ()
        """Generations whose tables cannot be written."""
        self.tables = []
        self.settings = []

    def synchronise(self, generation, plan):
        self.tables.append((generation, plan))
        if generation in self.fails:
            raise DataplaneError("no netlink")
        return Steered(("lan",), 1)


@pytest.fixture
def rig(monkeypatch, tmp_path):
    host, made = Host(), Supervisor("file", str(tmp_path))
    made._workers, made._marking = Workers(), None
    made._compiled, made._image = compiled("b"), os.memfd_create("old")
    made._groups.replace(made._compiled.groups, {})
    made._report = lambda steered: None
    made._synchronise = lambda *, fresh: host.synchronise(made._generation, made._compiled.plan)

    def write_settings(_pins, plan, _marking, generation, epoch):
        host.settings.append((plan, generation, epoch))

    monkeypatch.setattr(module, "write_settings", write_settings)
    monkeypatch.setattr(module, "write_clients", lambda _pins, _plan: None)
    level = logging.getLogger().level
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield made, host
    logging.getLogger().setLevel(level)
    signal.set_wakeup_fd(-1)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    os.close(made._image)
    for sock in (made._signals, made._signal_writer):
        sock.close()


def offer(made, new):
    made._load_config = lambda mode=None: (new, os.memfd_create("new"))
    made._reload()


def test_a_reload(rig):
    made, host = rig
    offer(made, compiled("c", log_level=logging.ERROR, plan=PLAN._replace(masks=(2,))))
    assert made._workers.setup.config == b"c"
    assert host.settings == [(PLAN._replace(masks=(2,)), 2, 2)]
    assert logging.getLogger().level == logging.ERROR


@pytest.mark.parametrize("cause", ["refused", "tables", "tables for good"])
def test_a_reload_that_fails_changes_nothing(rig, cause):
    made, host = rig
    before = made._groups.state = GroupState({"G": "b"}, {})
    old, image = made._compiled, made._image
    logging.getLogger().setLevel(logging.INFO)
    made._workers.refuses = cause == "refused"
    host.fails = {"refused": (), "tables": (2,), "tables for good": (2, 3)}[cause]
    descriptors = len(os.listdir("/proc/self/fd"))
    offer(made, compiled("c", log_level=logging.ERROR, selected={"G": "c"}))
    assert (made._compiled, made._image) == (old, image)
    assert made._groups.state == before
    assert made._workers.setup == (b"b", made._epoch, (), before)
    assert made._workers.modules == ("b",)
    assert logging.getLogger().level == logging.INFO
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_nothing_of_a_failed_reload_comes_into_force(rig):
    """Verdicts that a worker learnt under it, and its static ones, are of other numbers."""
    made, host = rig
    made._workers.refuses = True
    offer(made, compiled("c", plan=PLAN._replace(masks=(2,))))
    ((plan, generation, epoch),) = host.settings
    assert plan == PLAN
    assert (b"c", epoch) not in made._workers.seen
    assert [table for table in host.tables if table[0] == generation] == [(generation, PLAN)]


def test_a_storm_of_signals_does_not_drown_the_last(rig):
    made, _ = rig
    made._catch_signals()
    made._reload = lambda: None
    for _ in range(5000):
        signal.raise_signal(signal.SIGHUP)
    signal.raise_signal(signal.SIGTERM)
    assert made._handle_signals()
    assert not made._noted
    assert made._groups.state == EMPTY_STATE
