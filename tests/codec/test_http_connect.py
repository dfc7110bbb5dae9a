"""HTTP CONNECT, the client's side. Responses are those of RFC 9110 and of real proxies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mihomo_tproxy.codec.http1 import MAX_HEAD_BYTES, HeadReader, parse_request
from mihomo_tproxy.codec.http_connect import MAX_INTERIM, ConnectFields, HttpConnect
from mihomo_tproxy.errors import (
    AuthenticationFailed,
    DestinationRefused,
    LocalProtocolError,
    ProtocolError,
    RemoteProtocolError,
)

VECTORS = Path(__file__).parents[1] / "vectors/http_proxies.json"
ESTABLISHED = b"HTTP/1.0 200 Connection established\r\nProxy-agent: tinyproxy/1.11.1\r\n\r\n"


def begun(fields: ConnectFields | None = None) -> HttpConnect:
    layer = HttpConnect(fields or ConnectFields(), "example.com", 443)
    layer.begin()
    return layer


def trickle(layer: HttpConnect, data: bytes) -> bytes:
    return b"".join(bytes(layer.feed(bytes((byte,)))) for byte in data)


def test_the_request() -> None:
    expected = b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"
    assert begun().output == expected


def test_the_request_with_credentials_and_headers() -> None:
    headers = (("User-Agent", "x"), ("proxy-authorization", "no"), ("X-A", "b"), ("host", "front"))
    fields = ConnectFields("Aladdin", "open sesame", headers)
    head = HeadReader().feed(fields.request("2001:db8::1", 8443))
    assert head is not None
    request = parse_request(head[0])
    assert (request.method, request.target) == ("CONNECT", "[2001:db8::1]:8443")
    assert request.headers == [
        ("Host", "front"),
        ("User-Agent", "x"),
        ("X-A", "b"),
        ("Proxy-Authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
    ]


def test_headers_without_credentials_may_authenticate() -> None:
    fields = ConnectFields(headers=(("Proxy-Authorization", "Bearer x"),))
    assert b"\r\nProxy-Authorization: Bearer x\r\n" in fields.request("a", 1)


def test_what_cannot_be_written() -> None:
    with pytest.raises(LocalProtocolError):
        ConnectFields(headers=(("A", "b\r\nC: d"),))
    with pytest.raises(LocalProtocolError):
        HttpConnect(ConnectFields(), "a b", 1)


def test_through() -> None:
    layer = begun()
    assert layer.feed(ESTABLISHED + b"hello") == b"hello"
    assert layer.ready
    assert layer.transparent
    assert layer.feed(b"more") == b"more"
    assert layer.seal(b"up") == b"up"
    layer.feed_eof()


@pytest.mark.parametrize(
    "case", json.loads(VECTORS.read_text())["cases"], ids=lambda case: case["proxy"]
)
def test_what_proxies_answered(case: dict) -> None:
    response = [segment.encode() for segment in case["response"]]
    for segments in (response, [b"".join(response)]):
        layer = begun()
        for segment in segments[:-1]:
            assert layer.feed(segment) == b""
        if "cause" in case:
            with pytest.raises(RemoteProtocolError) as caught:
                layer.feed(segments[-1])
            assert caught.value.cause == case["cause"]
        else:
            assert layer.feed(segments[-1] + b"x") == b"x"


@pytest.mark.parametrize(
    "response",
    [
        ESTABLISHED,
        b"HTTP/1.1 200\r\n\r\n",
        b"HTTP/1.1 204 ok\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nA: b\r\n\r\n" + ESTABLISHED,
        b"\r\n" + ESTABLISHED,
    ],
)
def test_byte_by_byte_and_truncated(response: bytes) -> None:
    assert trickle(begun(), response + b"hello") == b"hello"
    for cut in range(len(response)):
        layer = begun()
        assert layer.feed(response[:cut]) == b""
        assert not layer.ready
        with pytest.raises(RemoteProtocolError) as caught:
            layer.feed_eof()
        assert caught.value.cause == "http-truncated"
        assert layer.feed(response[cut:] + b"x") == b"x"


@pytest.mark.parametrize(
    ("status", "kind", "cause"),
    [
        (401, AuthenticationFailed, "http-auth-failed"),
        (407, AuthenticationFailed, "http-auth-failed"),
        (101, DestinationRefused, "http-refused"),
        (301, DestinationRefused, "http-refused"),
        (403, DestinationRefused, "http-not-allowed"),
        (405, DestinationRefused, "http-not-allowed"),
        (500, DestinationRefused, "http-refused"),
        (502, DestinationRefused, "http-unreachable"),
        (503, DestinationRefused, "http-unreachable"),
        (504, DestinationRefused, "http-timeout"),
    ],
)
def test_refusals(status: int, kind: type[ProtocolError], cause: str) -> None:
    with pytest.raises(kind) as caught:
        begun().feed(b"HTTP/1.1 %d Reason\r\nContent-Length: 5\r\n\r\nsorry" % status)
    assert caught.value.cause == cause
    assert str(status) in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"\x05\x00",
        b"SSH-2.0-x\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 200 OK\nA: b\n",
        b"HTTP/1.1 200 " + b"x" * MAX_HEAD_BYTES,
        b"HTTP/1.1 100 x\r\n\r\n" * (MAX_INTERIM + 1),
        b"HTTP/1.1 100 x\r\n\r\nnonsense",
    ],
)
def test_what_is_not_http(data: bytes) -> None:
    for feed in (HttpConnect.feed, trickle):
        with pytest.raises(RemoteProtocolError):
            feed(begun(), data)


@given(st.lists(st.binary(max_size=30), max_size=5), st.booleans())
def test_only_protocol_errors_escape_in_any_pieces(chunks: list[bytes], established: bool) -> None:
    def outcome(parts: list[bytes]) -> object:
        layer = begun()
        try:
            return b"".join(bytes(layer.feed(part)) for part in parts), layer.ready
        except ProtocolError as error:
            return error.cause

    data = ESTABLISHED * established + b"".join(chunks)
    assert outcome([data]) == outcome([bytes((byte,)) for byte in data])
