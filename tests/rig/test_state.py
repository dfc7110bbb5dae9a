"""State files: claimed once, readable by anyone, honest about their owner."""

from __future__ import annotations

import os
import subprocess

import pytest

from mihomo_tproxy.errors import RigError
from mihomo_tproxy.rig import host, state


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    monkeypatch.setattr(state, "STATE_DIR", tmp_path)
    return tmp_path


def sample(**more):
    start = state.process_start(os.getpid())
    return state.State(
        **{"name": "r", "prefix": "px", "owner": os.getpid(), "owner_start": start} | more
    )


def test_claim_save_load():
    mine = sample(namespaces={"gateway": "px-gateway"}, pins=["/sys/fs/bpf/px"])
    state.claim(mine)
    assert state.load(mine.path) == mine
    assert state.named("r") == mine
    assert state.all_states() == [mine]
    assert mine.directory.is_dir()


def test_a_name_is_claimed_once():
    state.claim(sample())
    with pytest.raises(RigError, match="rig r is up already"):
        state.claim(sample())


def test_clean_of_what_was_never_built():
    mine = sample(namespaces={"gateway": "px-never-built"})
    state.claim(mine)
    assert state.clean(mine) == []
    assert state.all_states() == []
    assert not mine.directory.exists()
    with pytest.raises(RigError, match="no rig r is up"):
        state.named("r")


def test_orphans():
    assert not sample().orphaned
    assert not sample(owner=0, owner_start=0).orphaned
    assert sample(owner_start=1).orphaned
    with subprocess.Popen(["true"]) as child:
        pass
    assert sample(owner=child.pid, owner_start=5).orphaned


def test_only_orphans_are_cleaned():
    state.claim(sample(name="alive"))
    state.claim(sample(name="dead", owner_start=1))
    assert state.clean_orphans() == {"dead": []}
    assert [found.name for found in state.all_states()] == ["alive"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": 1}'])
def test_a_foreign_file_is_a_sentence(directory, text):
    (directory / "x.json").write_text(text)
    with pytest.raises(RigError, match="not a rig's state"):
        state.load(directory / "x.json")


def test_process_start_tells_processes_apart():
    assert state.process_start(os.getpid()) == state.process_start(os.getpid())
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert state.process_start(child.pid) is None
    child.wait()
    assert state.process_start(child.pid) is None


def test_pins_are_only_removed_below_bpffs(tmp_path, monkeypatch):
    root = tmp_path / "bpf"
    (root / "px" / "deep").mkdir(parents=True)
    (root / "map").touch()
    monkeypatch.setattr(host, "mounted", lambda kind: [root])
    for refused in (tmp_path / "other", root):
        with pytest.raises(RigError, match="not below a bpffs mount"):
            state.remove_pin(refused)
    state.remove_pin(root / "px")
    state.remove_pin(root / "map")
    state.remove_pin(root / "gone")
    assert list(root.iterdir()) == []


def test_missing_mounts_are_made_once_and_undone_by_the_last(monkeypatch):
    done = []
    monkeypatch.setattr(host, "mounted", lambda kind: [] if not done else [host.BPFFS])
    monkeypatch.setattr(host, "mount", lambda kind, target: done.append(("mount", kind)))
    monkeypatch.setattr(host, "unmount", lambda target: done.append(("unmount", target)))
    state.ensure_mounts()
    state.ensure_mounts()
    first, second = sample(name="a"), sample(name="b")
    state.claim(first)
    state.claim(second)
    assert state.clean(first) == []
    assert done == [("mount", "bpf")]
    assert state.clean(second) == []
    assert done == [("mount", "bpf"), ("unmount", host.BPFFS)]
