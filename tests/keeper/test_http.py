"""The HTTP client: what it fetches, and what hostile servers cannot do to it."""

from __future__ import annotations

import asyncio
import gzip
import zlib

import pytest
import trustme
from support.tls import NAME, authority, certificate, server_context, trust
from support.web import KeeperSide, Names, Web, ok

from mihomo_tproxy.errors import FetchFailed, LocalProtocolError
from mihomo_tproxy.keeper.connection import PhaseTimeouts
from mihomo_tproxy.keeper.http import USER_AGENT, Limits

SOON = PhaseTimeouts(0.2, 0.2, 0.2)


async def failure(side, url, **options):
    with pytest.raises(FetchFailed) as raised:
        await side.fetch(url, **options)
    return raised.value.cause


async def fetch(answer, **options):
    """What one request to a server with that answer brings."""
    async with KeeperSide() as side, Web(answer) as web:
        return await side.fetch(web.url(), **options)


async def fail(answer, **options):
    """Why it brings nothing."""
    async with KeeperSide() as side, Web(answer) as web:
        return await failure(side, web.url(), **options)


async def test_get():
    async with KeeperSide() as side, Web(ok(b"hello", "ETag: x")) as web:
        response, body = await side.fetch(web.url("/a?b"), headers=(("X-Own", "1"),))
        assert (response.status, response.headers["etag"], body) == (200, "x", b"hello")
        lines = web.requests[0].split("\r\n")
    assert lines[0] == "GET /a?b HTTP/1.1"
    assert lines[1] == f"Host: 127.0.0.1:{web.port}"
    assert {f"User-Agent: {USER_AGENT}", "Accept-Encoding: gzip", "X-Own: 1"} < set(lines)


async def test_headers_of_the_caller_replace_ours():
    async with KeeperSide() as side, Web(ok(b"")) as web:
        await side.fetch(web.url(), headers=(("user-agent", "mine"),))
        assert "user-agent: mine" in web.requests[0]
        assert USER_AGENT not in web.requests[0]
        smuggled = (("X", "a\r\nY: b"),)
        assert await failure(side, web.url(), headers=smuggled) == "http-header"


async def test_credentials_stay_with_their_host():
    async with KeeperSide(Names()) as side, Web(ok(b"")) as other:
        moved = f"HTTP/1.1 302 Found\r\nLocation: {other.url(host='b.test')}\r\n\r\n".encode()
        async with Web(moved) as web:
            url = web.url(host="u:p@a.test")
            await side.fetch(url, headers=(("Authorization", "secret"), ("X-Own", "1")))
            assert "Authorization: secret" in web.requests[0]
            assert "uthorization" not in other.requests[0]
            assert "X-Own: 1" in other.requests[0]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde",
        ok(gzip.compress(b"abcde"), "Content-Encoding: gzip"),
        ok(gzip.compress(b"ab") + gzip.compress(b"cde"), "Content-Encoding: x-gzip"),
    ],
    ids=["chunked", "interim", "gzip", "two members"],
)
async def test_codings(answer):
    assert (await fetch(answer))[1] == b"abcde"


async def test_body_until_the_end_of_the_connection():
    async def answer(_head, writer):
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nabc")
        writer.close()

    assert (await fetch(answer))[1] == b"abc"


async def test_only_the_body_of_200_is_read():
    response, body = await fetch(b"HTTP/1.1 404 No\r\nContent-Length: 999999999999\r\n\r\nxxx")
    assert (response.status, body) == (404, b"")


async def test_redirects_are_followed():
    async def answer(head, writer):
        number = int(head.split()[1].strip("/") or 0)
        step = f"HTTP/1.1 302 Found\r\nLocation: /{number + 1}\r\nContent-Length: 0\r\n\r\n"
        writer.write(ok(b"end") if number == 10 else step.encode())

    assert (await fetch(answer))[1] == b"end"


async def test_redirects_end():
    loop = b"HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"
    assert await fail(loop) == "http-redirects"
    assert await fail(loop.replace(b": /", b": file:///etc/passwd")) == "http-url"


async def test_redirect_without_location_is_an_answer():
    assert (await fetch(b"HTTP/1.1 301 Moved\r\nContent-Length: 0\r\n\r\n"))[0].status == 301


async def test_endless_headers():
    async def answer(_head, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while not writer.is_closing():
            writer.write(b"X: " + b"y" * 1000 + b"\r\n")
            await writer.drain()

    assert await fail(answer) == "http-broken"


async def test_endless_interim_answers():
    async def answer(_head, writer):
        while not writer.is_closing():
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 10)
            await writer.drain()

    assert await fail(answer) == "http-broken"


async def test_endless_body():
    async def answer(_head, writer):
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n")
        while not writer.is_closing():
            writer.write(bytes(1000))
            await writer.drain()

    assert await fail(answer, limits=Limits(size=100_000)) == "http-too-large"


async def test_announced_too_large():
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n"
    assert await fail(answer, limits=Limits(size=100)) == "http-too-large"


async def test_gzip_bomb():
    bomb = ok(gzip.compress(bytes(50 << 20)), "Content-Encoding: gzip")
    assert await fail(bomb, limits=Limits(size=1 << 20)) == "http-too-large"


@pytest.mark.parametrize(
    "body", [b"no gzip at all", gzip.compress(bytes(1000))[:-4], zlib.compress(b"x")]
)
async def test_broken_gzip(body):
    assert await fail(ok(body, "Content-Encoding: gzip")) == "http-encoding"


async def test_encoding_nobody_asked_for():
    assert await fail(ok(b"x", "Content-Encoding: br")) == "http-encoding"


async def test_body_shorter_than_announced():
    async def answer(_head, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        writer.close()

    assert await fail(answer) == "http-broken"


async def test_end_without_an_answer():
    async def answer(_head, writer):
        writer.close()

    assert await fail(answer) == "http-closed"


async def test_reset():
    async def answer(_head, writer):
        writer.transport.abort()

    assert await fail(answer) in {"stream-reset", "http-closed"}


@pytest.mark.parametrize("answer", [b"\x16\x03\x01 no HTTP\r\n\r\n", b"SSH-2.0-x\r\n\r\n"])
async def test_not_http(answer):
    assert await fail(answer) == "http-broken"


async def test_no_answer():
    async def answer(_head, writer):
        await asyncio.sleep(60)

    assert await fail(answer, limits=Limits(phases=SOON)) == "http-timeout"


async def test_silence_within_a_body():
    async def answer(_head, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        await asyncio.sleep(60)

    assert await fail(answer, limits=Limits(phases=SOON)) == "http-timeout"


async def test_slow_drip():
    """Never silent for long, and never done."""

    async def answer(_head, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            await asyncio.sleep(0.01)

    assert await fail(answer, limits=Limits(total_s=0.3)) == "http-timeout"


async def test_slow_drip_of_a_head():
    async def answer(_head, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nX: ")
        while not writer.is_closing():
            writer.write(b"x")
            await asyncio.sleep(0.01)

    assert await fail(answer, limits=Limits(phases=SOON)) == "http-timeout"


async def test_nobody_there():
    async with KeeperSide() as side:
        async with Web(b"") as web:
            url = web.url()
        assert await failure(side, url) == "dial-refused"


async def test_no_url():
    async with KeeperSide() as side:
        assert await failure(side, "gopher://a.test/") == "http-url"


async def test_outbound_without_a_route():
    class Rejecting:
        def route(self, host, port):
            raise LocalProtocolError("rejected")

    async with KeeperSide() as side:
        side.direct = Rejecting()
        assert await failure(side, "http://a.test/") == "rejected"


async def test_disk_full():
    def write(_data):
        raise OSError(28, "No space left on device")

    async with KeeperSide() as side, Web(ok(b"x")) as web:
        with pytest.raises(FetchFailed, match="No space") as raised:
            await side.client.fetch(web.url(), side.find, write)
    assert raised.value.cause == "http-write"


async def test_tls(monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", trust(authority(), tmp_path))
    async with KeeperSide(Names()) as side, Web(ok(b"x" * 100_000), server_context()) as web:
        assert (await side.fetch(web.url(host=NAME)))[1] == b"x" * 100_000
        assert await failure(side, web.url(host="other.test")) == "tls-certificate"
        assert await failure(side, web.url()) == "tls-certificate"


async def test_tls_to_an_address(monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", trust(authority(), tmp_path))
    context = server_context(certificate("127.0.0.1"))
    async with KeeperSide() as side, Web(ok(b"x"), context) as web:
        assert (await side.fetch(web.url()))[1] == b"x"


async def test_tls_of_an_unknown_authority():
    leaf = trustme.CA().issue_cert(NAME)
    async with KeeperSide(Names()) as side, Web(ok(b"x"), server_context(leaf)) as web:
        assert await failure(side, web.url(host=NAME)) == "tls-certificate"


async def test_no_tls_there():
    async with KeeperSide() as side, Web(ok(b"x")) as web:
        url = web.url().replace("http:", "https:")
        assert await failure(side, url, limits=Limits(phases=SOON)) in (
            "tls-not-tls",
            "http-timeout",
        )


async def test_cancelled_leaves_nothing():
    arrived = asyncio.Event()

    async def answer(_head, writer):
        arrived.set()
        await asyncio.sleep(60)

    async with KeeperSide() as side, Web(answer) as web:
        task = side.loop.create_task(side.fetch(web.url()))
        await arrived.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0)
        assert not any(side.reactor._table)
