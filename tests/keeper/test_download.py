"""One download: what it asks for, and that the last good file outlives every bad one."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
from support.web import KeeperSide, Web, ok

from mihomo_tproxy.config.specs.provider import Behavior, Format
from mihomo_tproxy.errors import FetchFailed
from mihomo_tproxy.keeper.download import download
from mihomo_tproxy.keeper.sources import Source
from mihomo_tproxy.keeper.store import SourceState
from mihomo_tproxy.keeper.validate import Job

LONG_AGO = 1_000_000_000


def content(path):
    return Path(path).read_bytes()


class Scene:
    """A file, and how to bring it up to date."""

    def __init__(self, tmp_path):
        self.path = tmp_path / "rules.txt"
        self.state = SourceState()
        self.validated = []
        self.problem = ""

    async def validate(self, job):
        self.validated.append(content(job.path))
        if self.problem:
            raise ValueError(self.problem)
        return 1

    def source(self, url, limit=1000):
        job = Job("rule", str(self.path), (Behavior.DOMAIN, Format.TEXT))
        headers = (("X-Own", "1"),)
        return Source("rule provider", "r", url, str(self.path), 60, "", limit, headers, job)

    def old(self, content=b"old"):
        self.path.write_bytes(content)
        os.utime(self.path, (LONG_AGO, LONG_AGO))

    @property
    def fresh(self):
        return os.stat(self.path).st_mtime > LONG_AGO

    async def run(self, web, **options):
        async with KeeperSide() as side:
            source = self.source(web.url(), **options)
            result = await download(side.client, side.find, source, self.state, self.validate)
        self.state = result.state
        return result.changed

    async def fail(self, answer, **options):
        """The cause; the old file is there, and nothing else."""
        self.old()
        async with Web(answer) as web:
            with pytest.raises(FetchFailed) as raised:
                await self.run(web, **options)
        assert self.path.read_bytes() == b"old"
        assert not self.fresh
        assert os.listdir(self.path.parent) == [self.path.name]
        return raised.value.cause


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)


async def test_first_download(scene):
    userinfo = "upload=1; download=2; total=3"
    answer = ok(b"new", 'ETag: "1"', "Last-Modified: Mon", f"Subscription-Userinfo: {userinfo}")
    async with Web(answer) as web:
        assert await scene.run(web)
        assert "X-Own: 1" in web.requests[0]
        assert "If-" not in web.requests[0]
    assert scene.path.read_bytes() == b"new"
    assert scene.validated == [b"new"]
    assert scene.state[:3] == (web.url(), '"1"', "Mon")
    assert scene.state.userinfo == userinfo


async def test_unchanged_by_etag(scene):
    async with Web(ok(b"new", 'ETag: "1"', "Subscription-Userinfo: a")) as web:
        await scene.run(web)
        scene.old(b"new")
        web._answer = b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n'
        before = scene.state
        assert not await scene.run(web)
        assert 'If-None-Match: "1"' in web.requests[1]
    assert scene.fresh
    assert scene.state == before
    assert len(scene.validated) == 1


async def test_unchanged_by_date(scene):
    async with Web(ok(b"new", "Last-Modified: Mon")) as web:
        await scene.run(web)
        web._answer = b"HTTP/1.1 304 Not Modified\r\nSubscription-Userinfo: b\r\n\r\n"
        assert not await scene.run(web)
        assert "If-Modified-Since: Mon" in web.requests[1]
    assert scene.state.userinfo == "b"


async def test_unchanged_by_content(scene):
    async with Web(ok(b"new")) as web:
        assert await scene.run(web)
        scene.old(b"new")
        assert not await scene.run(web)
        assert "If-" not in web.requests[1]
    assert scene.fresh


@pytest.mark.parametrize("spoil", ["changed", "gone", "other url"])
async def test_condition_only_for_the_file_it_is_about(scene, spoil):
    async with Web(ok(b"new", 'ETag: "1"')) as web:
        await scene.run(web)
        if spoil == "changed":
            scene.old(b"edited by hand")
        elif spoil == "gone":
            scene.path.unlink()
        else:
            scene.state = scene.state._replace(url="http://other.test/")
        assert await scene.run(web) is (spoil != "other url")
        assert "If-None-Match" not in web.requests[1]
    assert scene.path.read_bytes() == b"new"


async def test_304_that_nobody_asked_for(scene):
    assert await scene.fail(b"HTTP/1.1 304 Not Modified\r\n\r\n") == "http-status"


@pytest.mark.parametrize("status", [b"404 Not Found", b"500 No", b"206 Partial", b"204 Nothing"])
async def test_other_status(scene, status):
    assert await scene.fail(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n") == (
        "http-status"
    )


async def test_of_no_use(scene):
    scene.problem = "line 1: nonsense"
    assert await scene.fail(ok(b"<html>")) == "content"
    assert scene.validated == [b"<html>"]


async def test_too_large(scene):
    assert await scene.fail(ok(b"x" * 1001)) == "http-too-large"
    bomb = ok(gzip.compress(bytes(100_000)), "Content-Encoding: gzip")
    assert await scene.fail(bomb) == "http-too-large"


async def test_cut_off(scene):
    async def answer(_head, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        writer.close()

    assert await scene.fail(answer) == "http-broken"


async def test_nowhere_to_write(scene):
    scene.path = scene.path / "below-a-file" / "x"
    scene.path.parent.parent.write_text("")
    async with Web(ok(b"new")) as web:
        with pytest.raises(FetchFailed, match="directory") as raised:
            await scene.run(web)
        assert not web.requests
    assert raised.value.cause == "file"
