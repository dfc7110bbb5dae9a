"""A connection: requests that follow one another, and when there is none to follow."""

from __future__ import annotations

import asyncio
import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.web import KeeperSide, Web

from mihomo_tproxy.errors import FetchFailed
from mihomo_tproxy.keeper.connection import Connection, HeadOnly, PhaseTimeouts
from mihomo_tproxy.keeper.http import Body, Client
from mihomo_tproxy.keeper.url import parse_url
from mihomo_tproxy.outbound.base import Route

PIECES = [
    *(b"HTTP/1.1 200 OK", b"HTTP/1.0 404 ", b"\r\n", b"\r\n\r\n", b"Content-Length: 5", b"5"),
    *(b"Transfer-Encoding: chunked", b"Content-Encoding: gzip", b"a", b"0", b": ", b"\0", b"\xff"),
    *(b"HTTP/1.1 100 Continue\r\n\r\n", gzip.compress(b"abc"), b"Connection: close"),
]
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


async def test_speaks_without_being_asked():
    async with KeeperSide() as side, Web(NO_CONTENT) as web:
        url, connection = await connected(side, web)
        await connection.open()
        assert (await head(side, connection, url)).status == 204
        connection.on_payload(b"more")
        with pytest.raises(FetchFailed) as raised:
            await head(side, connection, url)
    assert raised.value.cause == "http-closed"


async def test_each_phase_has_its_own_time():
    """A patient dial does not make what follows patient."""

    async def answer(_head, writer):
        await asyncio.sleep(60)

    async with KeeperSide() as side, Web(answer) as web:
        url = parse_url(web.url())
        connection = side.client.connect(url, side.direct, PhaseTimeouts(50, 0.05, 50))
        await connection.open()
        with pytest.raises(FetchFailed) as raised:
            await head(side, connection, url)
    assert raised.value.cause == "http-timeout"


async def test_closed_in_the_middle():
    async with KeeperSide() as side, Web(NO_CONTENT) as web:
        _url, connection = await connected(side, web)
        connection.close()
        connection.close()
        await asyncio.sleep(0)
        assert not any(side.reactor._table)


class Wire:
    """Stands for a stream; the test says what comes."""

    def __init__(self):
        self.closed = False

    def send(self, data):
        assert data.startswith(b"GET / HTTP/1.1\r\n")

    def close(self):
        self.closed = True


def answered(chunks):
    """What a GET makes of these bytes: the body, or None when it failed."""
    loop, body = asyncio.new_event_loop(), bytearray()
    connection = Connection(loop, None, Route(None, "a.test", 80, []), PhaseTimeouts())
    connection._stream = Wire()
    receiver = Body(body.extend, 1000)
    request = Client(None).request("GET", parse_url("http://a.test/"))
    task = loop.create_task(connection.request(request, receiver))
    loop.run_until_complete(asyncio.sleep(0))
    for chunk in filter(None, chunks):
        connection.on_payload(memoryview(chunk))
    connection.on_end("")
    loop.run_until_complete(asyncio.sleep(0))
    assert task.done()
    connection.close()
    loop.close()
    assert len(body) <= 1000
    try:
        task.result()
        receiver.end()
    except FetchFailed:
        return None
    return bytes(body)


@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=20)))
def test_whatever_comes_it_ends(chunks):
    answered(chunks)


@given(st.binary(max_size=900), st.lists(st.integers(1, 30)), st.booleans(), st.booleans())
def test_cut_anywhere(content, sizes, zipped, chunked):
    """Where the pieces of an answer begin and end makes no difference."""
    body = gzip.compress(content) if zipped else content
    head = b"HTTP/1.1 200 OK\r\n" + (b"Content-Encoding: gzip\r\n" if zipped else b"")
    if chunked:
        head += b"Transfer-Encoding: chunked\r\n\r\n"
        body = b"".join(b"1\r\n%c\r\n" % octet for octet in body) + b"0\r\n\r\n"
    else:
        head += b"Content-Length: %d\r\n\r\n" % len(body)
    wire, chunks = head + body, []
    for size in sizes:
        chunks.append(wire[:size])
        wire = wire[size:]
    assert answered([*filter(None, chunks), wire] if wire else chunks) == content
