"""When files are downloaded, and who hears of it."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from pathlib import Path

import pytest

from mihomo_tproxy.config.specs.provider import Behavior, Format
from mihomo_tproxy.errors import FetchFailed
from mihomo_tproxy.keeper import downloads as module
from mihomo_tproxy.keeper.downloads import CONCURRENCY, RETRY_MOST_S, Downloads, _Kept
from mihomo_tproxy.keeper.sources import Source
from mihomo_tproxy.keeper.validate import Job


def source(path, name="r", interval=3600, url="http://r.test/"):
    job = Job("rule", str(path), (Behavior.DOMAIN, Format.TEXT))
    return Source("rule provider", name, url, str(path), interval, "", 1000, (), job)


def touch(path):
    Path(path).write_text("x")


class Scene:
    """Downloads whose outcome the test says."""

    def __init__(self):
        self.asked = []
        self.running = 0
        self.most = 0
        self.outcome = True
        self.gate = asyncio.Event()
        self.gate.set()
        self.told = asyncio.Queue()
        self.downloads = Downloads(self.refresh, self.told.put_nowait)

    async def refresh(self, source):
        self.asked.append(source.name)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.gate.wait()
        finally:
            self.running -= 1
        if isinstance(self.outcome, Exception):
            raise self.outcome
        touch(source.path)
        return self.outcome

    def configure(self, *sources):
        self.downloads.configure({each.key: each for each in sources})


@pytest.fixture
async def scene():
    made = Scene()
    yield made
    await made.downloads.close()


async def settle():
    for _ in range(20):
        await asyncio.sleep(0)


async def test_absent_at_once(scene, tmp_path):
    scene.configure(source(tmp_path / "a"))
    assert await scene.told.get() == ("r",)
    await settle()
    assert scene.asked == ["r"]


async def test_present_and_fresh_not_at_all(scene, tmp_path):
    (tmp_path / "a").touch()
    scene.configure(source(tmp_path / "a"), source(tmp_path / "a", "never", 0))
    await settle()
    assert scene.asked == []


async def test_older_than_its_interval(scene, tmp_path):
    (tmp_path / "a").touch()
    os.utime(tmp_path / "a", (1, 1))
    scene.configure(source(tmp_path / "a"), source(tmp_path / "a", "once", 0))
    assert await scene.told.get() == ("r",)
    assert scene.asked == ["r"]


def test_when_it_is_due(tmp_path):
    path = tmp_path / "a"
    kept = _Kept(source(path))
    assert kept.due_s() == 0
    path.touch()
    assert 3590 < kept.due_s() <= 3600
    os.utime(path, (time.time() - 3000,) * 2)
    assert 590 < kept.due_s() <= 600
    os.utime(path, (time.time() + 10**6,) * 2)
    assert kept.due_s() == 3600  # a clock that was set back does not stop it
    assert _Kept(source(path, interval=0)).due_s() is None
    assert _Kept(source(tmp_path / "none", interval=0)).due_s() == 0


def test_tried_again_less_and_less_often(tmp_path):
    for interval, most in ((100, 100), (0, RETRY_MOST_S)):
        kept = _Kept(source(tmp_path / "a", interval=interval))
        waits = []
        for _ in range(60):
            kept.failed(FetchFailed("x", "x"))
            waits.append(kept.due_s())
        assert waits[:3] == [15, 30, 60]
        assert waits == sorted(waits)
        assert waits[-1] == most
        kept.succeeded(True)
        assert kept.due_s() == 0


@pytest.mark.parametrize("cause", ["content", "http-too-large"])
def test_what_is_of_no_use_is_not_fetched_again_soon(tmp_path, cause):
    kept = _Kept(source(tmp_path / "a", interval=86400))
    kept.failed(FetchFailed(cause, "x"))
    assert kept.due_s() == 300
    kept.failed(FetchFailed("dial-refused", "x"))
    assert kept.due_s() == 30


async def test_failure_is_told_once_for_each_reason(scene, tmp_path, caplog, monkeypatch):
    async def refresh(source):
        scene.asked.append(source.name)
        if len(scene.asked) < 4:
            raise FetchFailed("x", "the server is away")
        return True

    monkeypatch.setattr(module, "RETRY_S", 0.001)
    scene.downloads._refresh = refresh
    with caplog.at_level(logging.INFO):
        scene.configure(source(tmp_path / "a"))
        await scene.told.get()
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 2
    assert "there is none: the server is away" in texts[0]
    assert "downloaded after 3 failures" in texts[1]


async def test_only_a_few_at_a_time(scene, tmp_path):
    scene.gate.clear()
    scene.configure(*(source(tmp_path / str(number), str(number)) for number in range(9)))
    await settle()
    assert scene.running == CONCURRENCY
    scene.gate.set()
    names = set()
    while len(names) < 9:
        names.update(await scene.told.get())
    assert scene.most == CONCURRENCY


async def test_told_together(scene, tmp_path):
    scene.gate.clear()
    scene.configure(*(source(tmp_path / name, name) for name in "abc"))
    await settle()
    scene.gate.set()
    assert await scene.told.get() == ("a", "b", "c")


async def test_one_that_hangs_does_not_hold_the_others_back(scene, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "GATHER_S", 0.01)
    slow = asyncio.Event()

    async def refresh(source):
        if source.name == "slow":
            await slow.wait()
        return True

    scene.downloads._refresh = refresh
    (tmp_path / "a").touch()
    os.utime(tmp_path / "a", (1, 1))
    scene.configure(source(tmp_path / "a", "slow"), source(tmp_path / "b", "fast"))
    assert await scene.told.get() == ("fast",)


async def test_unchanged_is_not_told(scene, tmp_path):
    scene.outcome = False
    scene.configure(source(tmp_path / "a"))
    await settle()
    assert scene.asked == ["r"]
    assert scene.told.empty()


async def test_update_when_asked(scene, tmp_path):
    (tmp_path / "a").touch()
    scene.configure(source(tmp_path / "a"))
    await settle()
    assert await scene.downloads.update("r") == {"changed": True}
    scene.outcome = False
    assert await scene.downloads.update("r") == {"changed": False}
    scene.outcome = FetchFailed("x", "away")
    with pytest.raises(FetchFailed, match="rule provider r: away"):
        await scene.downloads.update("r")
    with pytest.raises(FetchFailed, match="nothing to download"):
        await scene.downloads.update("unknown")
    assert scene.asked == ["r"] * 3


async def test_update_while_the_configuration_changes(scene, tmp_path):
    (tmp_path / "a").touch()
    scene.configure(source(tmp_path / "a"))
    scene.gate.clear()
    update = scene.downloads._tasks.spawn(scene.downloads.update("r"))
    await settle()
    scene.configure()
    with pytest.raises(FetchFailed, match="configuration changed"):
        await update


async def test_reload_keeps_what_is_the_same(scene, tmp_path):
    scene.gate.clear()
    same = source(tmp_path / "a", "same")
    scene.configure(same, source(tmp_path / "b", "gone"))
    await settle()
    scene.configure(same, source(tmp_path / "c", "new"))
    await settle()
    assert scene.asked == ["same", "gone", "new"]
    assert scene.running == 2
    scene.gate.set()
    assert await scene.told.get() == ("new", "same")
