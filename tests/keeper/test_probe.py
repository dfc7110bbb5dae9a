"""URL tests: what is timed, and what counts as no answer."""

from __future__ import annotations

import asyncio

import pytest
from support.tls import NAME, authority, server_context, trust
from support.web import KeeperSide, Names, Web

from mihomo_tproxy.keeper.probe import LONGEST_MS, probe

NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


class Ticking:
    """A clock that moves only when the server answers."""

    def __init__(self, steps):
        self.now = 100.0
        self._steps = iter(steps)

    def __call__(self):
        return self.now

    async def answer(self, head, writer):
        assert head.startswith("HEAD / HTTP/1.1\r\n")
        self.now += next(self._steps)
        writer.write(NO_CONTENT)


async def measured(*steps, unified=False):
    clock = Ticking(steps)
    async with KeeperSide() as side, Web(clock.answer) as web:
        url = web.url()
        result = await probe(side.client, side.direct, url, 10.0, unified=unified, clock=clock)
        return result, len(web.requests), web.connections


async def test_first_answer_counts():
    assert await measured(0.25) == ((250, 204, ""), 1, 1)


async def test_unified_counts_the_second():
    assert await measured(0.25, 0.03, unified=True) == ((30, 204, ""), 2, 1)


async def test_bounds():
    assert (await measured(0.0))[0].delay_ms == 1
    assert (await measured(90.0))[0].delay_ms == LONGEST_MS


async def test_unified_with_a_server_that_wants_one():
    async with KeeperSide() as side, Web(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n") as web:
        result = await probe(side.client, side.direct, web.url(), 10.0, unified=True)
    assert (result.status, result.cause) == (200, "")
    assert result.delay_ms > 0


async def test_redirect_is_an_answer():
    async with KeeperSide() as side, Web(b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n") as web:
        result = await probe(side.client, side.direct, web.url(), 10.0, unified=False)
        assert (result.status, len(web.requests)) == (302, 1)


async def test_too_slow():
    async def answer(_head, _writer):
        await asyncio.sleep(60)

    async with KeeperSide() as side, Web(answer) as web:
        result = await probe(side.client, side.direct, web.url(), 0.05, unified=False)
    assert result == (0, 0, "http-timeout")


@pytest.mark.parametrize("url", ["nonsense", "http://a.test:0/", "https://a..test/"])
async def test_no_url(url):
    async with KeeperSide() as side:
        result = await probe(side.client, side.direct, url, 1.0, unified=False)
    assert result == (0, 0, "http-url")


async def test_tls(monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", trust(authority(), tmp_path))
    async with KeeperSide(Names()) as side, Web(NO_CONTENT, server_context()) as web:
        good = await probe(side.client, side.direct, web.url(host=NAME), 10.0, unified=True)
        bad = await probe(side.client, side.direct, web.url(host="b.test"), 10.0, unified=True)
    assert good.status == 204
    assert bad == (0, 0, "tls-certificate")
