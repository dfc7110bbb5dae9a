"""The request for an upgrade, as mihomo writes it, and the answers to it."""

from __future__ import annotations

from base64 import urlsafe_b64decode

import pytest
from support.feeding import trickled

from mihomo_tproxy.codec.http1 import HeadReader, ResponseHead, parse_request
from mihomo_tproxy.config.specs.transport import WebSocketSpec
from mihomo_tproxy.errors import LocalProtocolError, RemoteProtocolError
from mihomo_tproxy.transport.upgrade import (
    MAX_WAITING_BYTES,
    ResponseReader,
    UpgradeRequest,
    Waiting,
    check_upgraded,
)

HOST = (("Host", "h.example"),)


def test_request() -> None:
    """Captured from mihomo 1.19.32, `path: "/a b?x=1", headers: {Host: h.example, X-A: b}`:

    GET /a%20b?x=1, Host: h.example, User-Agent: Go-http-client/1.1, Connection: Upgrade,
    Sec-Websocket-Key, Sec-Websocket-Version: 13, Upgrade: websocket, X-A: b
    """
    spec = WebSocketSpec(path="/a%20b?x=1", headers=(("X-A", "b"), *HOST))
    found = HeadReader().feed(UpgradeRequest(spec).build(key=b"i/juSdTnmQmt4ZGaerbDwQ=="))
    assert found is not None
    request = parse_request(found[0])
    assert found[1] == b""
    assert (request.method, request.target) == ("GET", "/a%20b?x=1")
    assert request.headers == [
        ("Host", "h.example"),
        ("X-A", "b"),
        ("User-Agent", "Go-http-client/1.1"),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Key", "i/juSdTnmQmt4ZGaerbDwQ=="),
        ("Sec-WebSocket-Version", "13"),
    ]


def test_request_without_a_key_and_with_an_agent() -> None:
    spec = WebSocketSpec(path="/p", headers=(*HOST, ("user-agent", "my \u00e4gent")))
    assert UpgradeRequest(spec).build() == (
        b"GET /p HTTP/1.1\r\nHost: h.example\r\nuser-agent: my \xc3\xa4gent\r\n"
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )


def test_early_data_in_the_path() -> None:
    """Captured from mihomo 1.19.32 with `path: "/p?z=1", max-early-data: 16`."""
    spec = WebSocketSpec(path="/p?z=1", headers=HOST, max_early_data=16)
    early = bytes.fromhex("00b831381d63244d53ad4f8cda48b308")
    assert UpgradeRequest(spec).build(early).startswith(b"GET /pALgxOB1jJE1TrU-M2kizCA?z=1 HTTP/")


def test_early_data_in_a_header() -> None:
    spec = WebSocketSpec(headers=HOST, max_early_data=9, early_data_header_name="X-Early")
    head = UpgradeRequest(spec).build(memoryview(b"\xff\xfe?>"))
    assert head.startswith(b"GET / HTTP/1.1\r\n")
    assert head.endswith(b"\r\nX-Early: __4_Pg\r\n\r\n")
    assert urlsafe_b64decode(b"__4_Pg==") == b"\xff\xfe?>"
    assert b"X-Early" not in UpgradeRequest(spec).build(b"")


def test_a_response_is_read_in_any_pieces() -> None:
    wire = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
    assert ResponseReader().feed(wire + b"rest") == (
        ResponseHead(101, "Switching Protocols", 1, [("Upgrade", "websocket")]),
        b"rest",
    )
    reader = ResponseReader()
    *earlier, last = [reader.feed(chunk) for chunk in trickled(wire)]
    assert set(earlier) == {None}
    assert last is not None
    assert last[0].status == 101


@pytest.mark.parametrize(
    "wire", [b"SSH-2.0-x\r\n", b"\x15\x03\x01", b"HTTP/2.0 200\r\n\r\n", b"\n"]
)
def test_other_servers_are_told_apart_at_once(wire: bytes) -> None:
    for chunks in ([wire], trickled(wire)):
        reader = ResponseReader()
        with pytest.raises(RemoteProtocolError) as caught:
            list(map(reader.feed, chunks))
        assert caught.value.cause == "http-bad-head"


@pytest.mark.parametrize(
    ("status", "headers", "cause"),
    [
        (200, {"Upgrade": "websocket", "Connection": "Upgrade"}, "http-status"),
        (404, {}, "http-status"),
        (101, {"Connection": "Upgrade"}, "http-no-upgrade"),
        (101, {"Upgrade": "h2c", "Connection": "Upgrade"}, "http-no-upgrade"),
        (101, {"Upgrade": "websocket", "Connection": "close"}, "http-no-upgrade"),
    ],
)
def test_refused(status: int, headers: dict[str, str], cause: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        check_upgraded(ResponseHead(status, "", 1, list(headers.items())))
    assert caught.value.cause == cause


def test_upgraded() -> None:
    headers = [("upgrade", "WebSocket"), ("connection", "keep-alive, Upgrade")]
    check_upgraded(ResponseHead(101, "", 1, headers))


def test_waiting_is_capped() -> None:
    waiting = Waiting()
    waiting.add(b"")
    waiting.add(memoryview(b"a"))
    waiting.add(bytes(MAX_WAITING_BYTES - 1))
    with pytest.raises(LocalProtocolError) as caught:
        waiting.add(b"x")
    assert caught.value.cause == "http-too-early"
    assert waiting.take() == b"a" + bytes(MAX_WAITING_BYTES - 1)
    assert waiting.take() == b""
