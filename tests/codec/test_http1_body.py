"""Where HTTP/1.x bodies end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mihomo_tproxy.codec.http1 import Headers, RequestHead, ResponseHead
from mihomo_tproxy.codec.http1_body import (
    MAX_CHUNK_LINE_BYTES,
    MAX_TRAILER_BYTES,
    BodyReader,
    ChunkedBody,
    CloseBody,
    LengthBody,
    request_body,
    response_body,
)
from mihomo_tproxy.errors import ProtocolError, RemoteProtocolError

CHUNKED = b'4\r\nWiki\r\n6;x="y"\r\npedia \r\nE \r\nin \r\n\r\nchunks.\r\n0\r\nExpires: x\r\n\r\n'
"""Three chunks, one with an extension, one with CRLF inside, and a trailer."""


def trickle(body: BodyReader, data: bytes) -> None:
    for byte in data:
        body.take(bytes((byte,)))


def request(headers: Headers, method: str = "POST", minor: int = 1) -> BodyReader:
    return request_body(RequestHead(method, "/", minor, headers))


def response(headers: Headers, method: str = "GET", status: int = 200) -> BodyReader:
    return response_body(ResponseHead(status, "", 1, headers), method)


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ([], LengthBody),
        ([("Content-Length", "5")], LengthBody),
        ([("Content-Length", "5, 5"), ("content-length", "5")], LengthBody),
        ([("Transfer-Encoding", "chunked")], ChunkedBody),
        ([("Transfer-Encoding", "gzip"), ("transfer-encoding", "Chunked")], ChunkedBody),
    ],
)
def test_bodies_of_requests(headers: Headers, kind: type) -> None:
    body = request(headers)
    assert type(body) is kind
    assert body.done is not bool(headers)
    assert not body.until_close


@pytest.mark.parametrize(
    ("headers", "method", "status", "kind"),
    [
        ([], "GET", 200, CloseBody),
        ([("Content-Length", "0")], "GET", 200, LengthBody),
        ([("Transfer-Encoding", "gzip, chunked")], "GET", 200, ChunkedBody),
        ([("Transfer-Encoding", "gzip")], "GET", 200, CloseBody),
        ([("Content-Length", "5")], "HEAD", 200, BodyReader),
        ([("Content-Length", "5")], "GET", 304, BodyReader),
        ([], "GET", 204, BodyReader),
        ([], "GET", 100, BodyReader),
        ([("Content-Length", "5")], "CONNECT", 200, BodyReader),
        ([("Content-Length", "5")], "CONNECT", 407, LengthBody),
    ],
)
def test_bodies_of_responses(headers: Headers, method: str, status: int, kind: type) -> None:
    assert type(response(headers, method, status)) is kind


@pytest.mark.parametrize(
    "headers",
    [
        [("Content-Length", "5"), ("Transfer-Encoding", "chunked")],
        [("Content-Length", "5"), ("Content-Length", "6")],
        [("Content-Length", "5, 6")],
        [("Content-Length", "")],
        [("Content-Length", "+5")],
        [("Content-Length", "0x5")],
        [("Content-Length", "1_0")],
        [("Content-Length", "²")],
        [("Content-Length", "9" * 19)],
        [("Transfer-Encoding", "")],
        [("Transfer-Encoding", "chunked, gzip")],
        [("Transfer-Encoding", "chunked, chunked")],
    ],
)
def test_ambiguous_framing(headers: Headers) -> None:
    for of in (request, response):
        with pytest.raises(RemoteProtocolError) as caught:
            of(headers)
        assert caught.value.cause == "http-bad-framing"


def test_ambiguous_framing_of_requests() -> None:
    with pytest.raises(RemoteProtocolError):
        request([("Transfer-Encoding", "gzip")])
    with pytest.raises(RemoteProtocolError):
        request([("Transfer-Encoding", "chunked")], minor=0)
    with pytest.raises(RemoteProtocolError):
        request([("Content-Length", "1")], "CONNECT")
    assert request([("Content-Length", "0")], "CONNECT").done


def test_a_length() -> None:
    body = LengthBody(5)
    assert body.take(b"abc") == 3
    assert not body.done
    with pytest.raises(RemoteProtocolError):
        body.feed_eof()
    assert body.take(b"dexyz") == 2
    assert body.done
    assert body.take(b"xyz") == 0
    body.feed_eof()


def test_until_close() -> None:
    body = CloseBody()
    assert body.take(b"abc") == 3
    assert body.until_close
    assert not body.done
    body.feed_eof()
    assert body.done


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_chunks(kind: type) -> None:
    body = ChunkedBody()
    assert body.take(kind(CHUNKED + b"GET /")) == len(CHUNKED)
    assert body.done
    assert body.take(b"GET /") == 0


def test_chunks_byte_by_byte_and_truncated() -> None:
    for cut in range(len(CHUNKED)):
        body = ChunkedBody()
        assert body.take(CHUNKED[:cut]) == cut
        assert not body.done
        with pytest.raises(RemoteProtocolError):
            body.feed_eof()
        assert body.take(CHUNKED[cut:] + b"next") == len(CHUNKED) - cut
        assert body.done
    body = ChunkedBody()
    for byte in CHUNKED:
        assert body.take(bytes((byte,))) == 1
    assert body.done


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n",
        b"g\r\n",
        b"-1\r\n",
        b"0x5\r\n",
        b" 5\r\n",
        b"5 x\r\n",
        b"5\nhello",
        b"5;a\0\r\n",
        b"5;a\rb\r\n",
        b"1" * 17 + b"\r\n",
        b"5\r\nhelloX\r\n",
        b"5\r\nhello\n",
        b"0\r\nno field\r\n",
        b"5;" + b"x" * MAX_CHUNK_LINE_BYTES,
        b"5;" + b"x" * MAX_CHUNK_LINE_BYTES + b"\r\n",
        b"0\r\n" + b"a: b\r\n" * (MAX_TRAILER_BYTES // 6 + 1),
    ],
)
def test_what_are_no_chunks(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        ChunkedBody().take(data)
    assert caught.value.cause in ("http-bad-chunk", "http-bad-head")
    with pytest.raises(RemoteProtocolError):
        trickle(ChunkedBody(), data)


def test_a_large_chunk_holds_nothing() -> None:
    body = ChunkedBody()
    assert body.take(b"ffffffffffffffff\r\n") == 18
    assert body.take(bytes(1 << 20)) == 1 << 20
    assert not body.done


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=6), st.data())
def test_any_chunks_in_any_pieces(parts: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    stream = wire + b"next"
    body, position = ChunkedBody(), 0
    while not body.done:
        size = data.draw(st.integers(1, 12))
        position += body.take(stream[position : position + size])
    assert position == len(wire)


@given(st.binary(max_size=100))
def test_only_protocol_errors_escape(data: bytes) -> None:
    body = ChunkedBody()
    try:
        assert body.take(data) <= len(data)
    except ProtocolError:
        pass
