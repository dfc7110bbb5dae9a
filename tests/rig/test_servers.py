"""The handlers of the built-in servers on loopback, with ports the kernel chose."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import socket

import pytest

from mihomo_tproxy.rig import servers, serving


@contextlib.asynccontextmanager
async def connected(service):
    handler = servers._guarded(servers.SERVICES[service])
    server = await asyncio.start_server(handler, "127.0.0.1", 0, limit=servers.MAX_REQUEST_BYTES)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@pytest.mark.parametrize(
    ("service", "data", "expected"),
    [
        ("echo", b"abc", b"abc"),
        ("banner", b"abc", serving.BANNER + b"abc"),
        ("discard", b"abc", b""),
        ("farewell", b"abc", serving.FAREWELL),
        ("chargen", b"100000\n", serving.pattern(100_000)),
        ("chargen", b"0\n", b""),
        ("sink", b"abc", f"3 {hashlib.sha256(b'abc').hexdigest()}\n".encode()),
    ],
)
async def test_what_a_service_answers(service, data, expected):
    async with connected(service) as (reader, writer):
        writer.write(data)
        writer.write_eof()
        assert await reader.read() == expected


@pytest.mark.parametrize(("service", "data"), [("reset", b""), ("reset-later", b"x")])
async def test_resets(service, data):
    async with connected(service) as (reader, writer):
        writer.write(data)
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)


async def test_chargen_drops_who_asks_for_nothing_sensible():
    async with connected("chargen") as (reader, writer):
        writer.write(b"many\n")
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)


async def ask(reader, writer, request):
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
    body = b"" if request.startswith(b"HEAD") else await reader.readexactly(length)
    return head.split(b"\r\n")[0], length, body


async def test_http_keeps_the_connection():
    async with connected("http") as (reader, writer):
        ok = b"HTTP/1.1 200 OK"
        answer = await ask(reader, writer, b"GET /bytes/70000 HTTP/1.1\r\n\r\n")
        assert answer == (ok, 70_000, serving.pattern(70_000))
        assert (await ask(reader, writer, b"HEAD /bytes/7 HTTP/1.1\r\n\r\n")) == (ok, 7, b"")
        posted = b"POST /echo HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
        assert (await ask(reader, writer, posted)) == (ok, 3, b"abc")
        status, *_ = await ask(reader, writer, b"GET /none HTTP/1.1\r\n\r\n")
        assert status == b"HTTP/1.1 404 Not Found"
        peer = await ask(reader, writer, b"GET /peer HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert peer[2] == b"127.0.0.1 %d" % writer.get_extra_info("sockname")[1]
        assert await reader.read() == b""


def test_udp_answers_from_where_it_was_asked():
    loopback = "::ffff:127.0.0.2"
    with servers._udp_socket(0) as server, servers._udp_socket(0, "127.0.0.1") as client:
        client.setblocking(True)
        client.settimeout(5)
        port = server.getsockname()[1]
        client.sendto(b"question", (loopback, port))
        server.setblocking(True)
        server.settimeout(5)
        with contextlib.suppress(TimeoutError):
            # One datagram is waiting; the loop ends at the first wait for another.
            server.settimeout(0.05)
            servers._serve_udp(server, lambda data, _peer: data.upper())
        answer, source = client.recvfrom(100)
        assert (answer, source[:2]) == (b"QUESTION", (loopback, port))


def test_stun_answers_with_the_sender_or_from_elsewhere():
    assert servers._stun(b"", ("::ffff:192.0.2.1", 5)) == b"192.0.2.1 5"
    assert servers._stun(b"", ("2001:db8::1", 6)) == b"2001:db8::1 6"
    with servers._udp_socket(0, "127.0.0.1") as probe:
        free = probe.getsockname()[1]
    with servers._udp_socket(0, "127.0.0.1") as client:
        client.setblocking(True)
        client.settimeout(5)
        here = client.getsockname()
        assert servers._stun(b"from 127.0.0.3 %d" % free, here[:2]) is None
        answer, source = client.recvfrom(100)
        assert source[:2] == ("::ffff:127.0.0.3", free)
        assert answer == b"127.0.0.1 %d" % here[1]
    assert servers._stun(b"from", ("::1", 1)) is None


def test_every_service_has_a_port():
    assert set(servers.SERVICES) | {"stun"} == set(serving.PORTS)
    assert socket.has_ipv6


async def test_a_stalled_connection_is_held_whatever_the_collector_does():
    async with connected("stall") as (reader, _writer):
        await asyncio.sleep(0.05)
        gc.collect()
        await asyncio.sleep(0.05)
        assert not reader.at_eof()
        (stalled,) = servers._stalled
        stalled.cancel()
