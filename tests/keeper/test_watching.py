"""Files that somebody changes."""

from __future__ import annotations

import os

import pytest

from mihomo_tproxy.config.schema import Config
from mihomo_tproxy.config.specs.provider import ProxyProviderSpec, RuleProviderSpec, Vehicle
from mihomo_tproxy.keeper.watching import LOOK_S, Watching, files_of


class Loop:
    """Notes what is to be called."""

    def __init__(self):
        self.timers = []

    def call_later(self, delay, callback):
        assert delay == LOOK_S
        self.timers.append(callback)
        return self

    def cancel(self):
        self.timers.pop()


class Scene:
    def __init__(self, tmp_path):
        self.path = tmp_path / "file"
        self.path.write_text("one")
        self.told = []
        self.loop = Loop()
        self.watching = Watching(self.loop, self.told.append)
        self.files = {str(self.path): ("p", "q"), str(tmp_path / "absent"): ("r",)}
        self.watching.configure(self.files)

    def looks(self, count):
        for _ in range(count):
            self.watching.look()
        told, self.told[:] = list(self.told), []
        return told


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)


def test_unchanged(scene):
    assert scene.looks(5) == []


def test_changed_and_then_still(scene):
    scene.path.write_text("three")
    assert scene.looks(1) == []
    scene.path.write_text("thirteen")
    assert scene.looks(1) == []
    assert scene.looks(1) == [("p", "q")]
    assert scene.looks(5) == []


def test_replaced_by_one_of_the_same_size(scene, tmp_path):
    times = (os.stat(scene.path).st_atime, os.stat(scene.path).st_mtime)
    (tmp_path / "new").write_text("two")
    os.utime(tmp_path / "new", times)
    os.replace(tmp_path / "new", scene.path)
    assert scene.looks(2) == [("p", "q")]


def test_appeared_and_gone(scene, tmp_path):
    (tmp_path / "absent").write_text("x")
    assert scene.looks(2) == [("r",)]
    (tmp_path / "absent").unlink()
    assert scene.looks(2) == [("r",)]


def test_reload_in_between_loses_no_change(scene):
    scene.path.write_text("three")
    scene.watching.configure(scene.files)
    assert scene.looks(2) == [("p", "q")]


def test_timer(scene):
    assert len(scene.loop.timers) == 1
    scene.path.write_text("three")
    for _ in range(2):
        scene.loop.timers.pop(0)()
    assert scene.told == [("p", "q")]
    scene.watching.close()
    assert scene.loop.timers == []
    scene.watching.configure({})
    assert scene.loop.timers == []


def test_files_of():
    config = Config(
        rule_providers=(
            RuleProviderSpec("a", Vehicle.FILE, "/h/x"),
            RuleProviderSpec("b", Vehicle.HTTP, "/h/y"),
        ),
        proxy_providers=(
            ProxyProviderSpec("c", Vehicle.FILE, "/h/x"),
            ProxyProviderSpec("d", Vehicle.INLINE),
        ),
    )
    assert files_of(config) == {"/h/x": ("a", "c")}
