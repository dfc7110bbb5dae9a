"""One instance per namespace: the lock, the state, what is removed."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from mihomo_tproxy.dataplane import instance as module
from mihomo_tproxy.dataplane.instance import Instance
from mihomo_tproxy.errors import DataplaneError


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Directories of the test's own in the place of /run and bpffs."""
    monkeypatch.setattr(module, "RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(module, "BPFFS", str(tmp_path / "bpf"))
    (tmp_path / "bpf").mkdir()
    return tmp_path


@pytest.fixture
def locked(places):
    instance = Instance()
    instance.lock()
    yield instance
    os.close(instance._lock_fd)


def test_its_number_is_the_namespace():
    assert Instance().number == os.stat("/proc/self/ns/net").st_ino


def test_another_namespace_is_another_instance(places, tmp_path):
    other = tmp_path / "netns"
    other.touch()
    assert Instance(str(other)).pins != Instance().pins


def test_nobody_runs_at_first(places):
    assert not Instance().is_running()
    assert Instance().read_state() == {}


def test_a_second_one_is_refused_by_name(locked):
    locked.write_state({"pid": 42})
    with pytest.raises(DataplaneError, match=r"already runs .*\(pid 42\)"):
        Instance().lock()
    assert Instance().is_running()


def test_the_state_is_replaced_whole(locked):
    locked.write_state({"pid": 1, "config": "x" * 200})
    locked.write_state({"pid": 2})
    assert Instance().read_state() == {"pid": 2}


def test_a_damaged_state_is_no_state(locked):
    state = Path(locked.state_path)
    state.write_text("[1, 2")
    assert locked.read_state() == {}
    state.write_text("[1, 2]")
    assert locked.read_state() == {}


def test_new_pins_take_the_place_of_old_ones(places):
    instance = Instance()
    pins, new_pins = Path(instance.pins), Path(instance.new_pins)
    for path, name in ((pins, "old"), (new_pins, "new")):
        path.mkdir(parents=True)
        (path / name).touch()
    instance.adopt_new_pins()
    assert [path.name for path in pins.iterdir()] == ["new"]
    assert not new_pins.exists()


def test_remove_takes_everything_and_tells_whether_there_was_anything(places):
    instance = Instance()
    new_pins = Path(instance.new_pins)
    new_pins.mkdir(parents=True)
    (new_pins / "map").touch()
    assert instance.remove()
    assert not new_pins.parent.exists()
    assert not instance.remove()


def test_remove_leaves_other_namespaces_alone(places):
    other = Path(module.BPFFS, "mihomo-tproxy", "1")
    other.mkdir(parents=True)
    Instance().remove()
    assert other.exists()


def test_a_place_that_cannot_be_made_is_an_error(places):
    (places / "run").touch()
    with pytest.raises(DataplaneError, match="cannot use"):
        Instance().lock()


def test_a_state_file_removed_before_it_was_locked_is_made_anew(places, monkeypatch):
    """The last owner unlinks it, and ends, between our open and our lock."""
    instance = Instance()
    flock, attempts = fcntl.flock, []

    def late(fd, how):
        attempts.append(fd)
        if len(attempts) == 1:
            os.unlink(instance.state_path)
        flock(fd, how)

    monkeypatch.setattr(module.fcntl, "flock", late)
    instance.lock()
    try:
        assert len(attempts) == 2
        assert Instance().is_running()
    finally:
        os.close(instance._lock_fd)
