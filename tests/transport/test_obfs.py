"""simple-obfs: the heads taken apart, and responses in pieces."""

from __future__ import annotations

import random
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.shadowsocks import pieces

from mihomo_tproxy.errors import ProtocolError, RemoteProtocolError
from mihomo_tproxy.transport.obfs import MAX_RECORD_PAYLOAD, MAX_TICKET, HttpObfs, TlsObfs

NOW = 1_800_000_000
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nServer: nginx/1.9\r\nUpgrade: websocket\r\n\r\n"
GREETING = (
    b"\x16\x03\x01" + pack(">H", 91) + bytes(91) + b"\x14\x03\x03\0\x01\x01" + b"\x16\x03\x03"
)


def http(port: int = 8388) -> HttpObfs:
    return HttpObfs("bing.com", port, random.Random(1).randbytes)


def tls() -> TlsObfs:
    return TlsObfs("bing.com", lambda: float(NOW), random.Random(1).randbytes)


def records(payload: bytes) -> bytes:
    return b"".join(
        b"\x17\x03\x03" + len(part).to_bytes(2, "big") + part
        for part in (payload[at : at + 1000] for at in range(0, len(payload), 1000))
    )


def greeting(payload: bytes) -> bytes:
    return GREETING + len(payload).to_bytes(2, "big") + payload


@pytest.mark.parametrize(("port", "host"), [(8388, b"bing.com:8388"), (80, b"bing.com")])
def test_the_request_of_http(port: int, host: bytes) -> None:
    layer = http(port)
    assert layer.ready
    head, _, rest = layer.seal(memoryview(b"hello")).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[:2] == [b"GET / HTTP/1.1", b"Host: " + host]
    assert b"Upgrade: websocket" in lines
    assert lines[-1] == b"Content-Length: 5"
    assert rest == b"hello"
    assert layer.seal(b"more") == b"more"


@given(st.lists(st.integers(0, 200)))
def test_the_response_of_http(cuts: list[int]) -> None:
    layer = http()
    layer.seal(b"")
    wire = SWITCHING + b"payload"
    assert b"".join(bytes(layer.feed(piece)) for piece in pieces(wire, cuts)) == b"payload"
    assert layer.transparent


def test_both_heads_go_before_a_stream_is_transparent() -> None:
    layer = http()
    assert layer.feed(SWITCHING) == b""
    assert not layer.transparent
    layer.seal(b"")
    assert layer.transparent


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "http-status"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "http-bad-head"),
        (b"HTTP/1.1 101 X\r\nA: " + bytes(70000), "http-head-too-large"),
    ],
)
def test_no_response_of_http(data: bytes, cause: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        http().feed(data)
    assert caught.value.cause == cause


def test_the_request_of_tls() -> None:
    layer = tls()
    payload = bytes(range(256)) * 160
    wire = layer.seal(memoryview(payload))
    size = int.from_bytes(wire[3:5], "big")
    hello = wire[5 : 5 + size]
    assert wire[:3] == b"\x16\x03\x01"
    assert hello[:1] == b"\x01"
    assert int.from_bytes(hello[1:4], "big") == len(hello) - 4
    assert int.from_bytes(hello[6:10], "big") == NOW
    # What servers go by: the ticket begins at a fixed place.
    extensions = wire[138:]
    assert int.from_bytes(wire[136:138], "big") == size - 133
    assert extensions[:4] == pack(">HH", 35, MAX_TICKET)
    assert extensions[4 : 4 + MAX_TICKET] == payload[:MAX_TICKET]
    name = extensions[4 + MAX_TICKET :][:17]
    assert name == pack(">HHHBH", 0, 13, 11, 0, 8) + b"bing.com"
    rest, at = b"", 5 + size
    while at < len(wire):
        assert wire[at : at + 3] == b"\x17\x03\x03"
        length = int.from_bytes(wire[at + 3 : at + 5], "big")
        assert length <= MAX_RECORD_PAYLOAD
        rest += wire[at + 5 : at + 5 + length]
        at += 5 + length
    assert rest == payload[MAX_TICKET:]
    assert layer.seal(b"more") == records(b"more")
    assert layer.seal(b"") == b""


def test_a_hello_without_payload() -> None:
    wire = tls().seal(b"")
    assert len(wire) == 5 + int.from_bytes(wire[3:5], "big")


@given(st.binary(max_size=3000), st.binary(max_size=3000), st.lists(st.integers(0, 7000)))
def test_the_response_of_tls(first: bytes, rest: bytes, cuts: list[int]) -> None:
    layer = tls()
    wire = greeting(first) + records(rest)
    assert b"".join(bytes(layer.feed(piece)) for piece in pieces(wire, cuts)) == first + rest
    layer.feed_eof()


def test_every_truncation_of_tls() -> None:
    wire = greeting(b"payload")
    for size in range(1, len(wire)):
        layer = tls()
        layer.feed(wire[:size])
        if size in (96, 102):
            layer.feed_eof()
            continue
        with pytest.raises(RemoteProtocolError) as caught:
            layer.feed_eof()
        assert caught.value.cause == "obfs-eof"


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400",
        b"\x15\x03\x01\0\x02",
        b"\x16\x03\x01\x40\0",
        GREETING[:96] + b"\x17\x03\x03\0\x01",
        GREETING[:102] + b"\x15\x03\x03\0\x02",
        greeting(b"") + b"\x17\x02\x03\0\x02",
    ],
)
def test_no_response_of_tls(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        tls().feed(data)
    assert caught.value.cause == "obfs-bad-record"


@given(st.sampled_from([http, tls]), st.binary(max_size=300), st.lists(st.integers(0, 300)))
def test_arbitrary_bytes(make, data: bytes, cuts: list[int]) -> None:
    layer = make()
    try:
        for piece in pieces(data, cuts):
            layer.feed(piece)
        layer.feed_eof()
    except ProtocolError:
        pass
