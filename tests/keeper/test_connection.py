"""A connection: requests that follow one another, and when there is none to follow."""

from __future__ import annotations

import asyncio

import pytest
from support.web import KeeperSide, Web

from mihomo_tproxy.errors import FetchFailed
from mihomo_tproxy.keeper.connection import HeadOnly, PhaseTimeouts
from mihomo_tproxy.keeper.url import parse_url

NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


async def head(side, connection, url):
    return await connection.request(side.client.request("HEAD", url), HeadOnly())


async def connected(side, web):
    url = parse_url(web.url())
    return url, side.client.connect(url, side.direct, PhaseTimeouts(1, 1, 1))


async def test_two_requests_on_one_connection():
    async with KeeperSide() as side, Web(NO_CONTENT) as web:
        url, connection = await connected(side, web)
        await connection.open()
        first = await head(side, connection, url)
        second = await head(side, connection, url)
        connection.close()
        assert (first.status, second.status) == (204, 204)
        assert (web.connections, len(web.requests)) == (1, 2)


async def test_server_that_wants_only_one():
    async with KeeperSide() as side, Web(b"HTTP/1.1 204 No\r\nConnection: close\r\n\r\n") as web:
        url, connection = await connected(side, web)
        await connection.open()
        await head(side, connection, url)
        with pytest.raises(FetchFailed) as raised:
            await head(side, connection, url)
        connection.close()
    assert raised.value.cause == "http-closed"


async def test_head_with_a_length_has_no_body():
    async with KeeperSide() as side, Web(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n") as web:
        url, connection = await connected(side, web)
        await connection.open()
        assert (await head(side, connection, url)).status == 200
        assert (await head(side, connection, url)).status == 200
        connection.close()


async def test_nobody_accepts(monkeypatch):
    """A dial that hangs ends by the connection's own timeout."""

    class Silent:
        def dial(self, host, port, done):
            pass

    async with KeeperSide() as side:
        monkeypatch.setattr(side.direct, "dialer", Silent())
        url = parse_url("http://a.test/")
        connection = side.client.connect(url, side.direct, PhaseTimeouts(connect=0.05))
        with pytest.raises(FetchFailed) as raised:
            await connection.open()
    assert raised.value.cause == "http-timeout"


async def test_closed_in_the_middle():
    async with KeeperSide() as side, Web(NO_CONTENT) as web:
        _url, connection = await connected(side, web)
        connection.close()
        connection.close()
        await asyncio.sleep(0)
        assert not any(side.reactor._table)
