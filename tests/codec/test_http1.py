"""HTTP/1.x heads: read and written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mihomo_tproxy.codec.http1 import (
    MAX_FIELDS,
    MAX_HEAD_BYTES,
    HeadReader,
    RequestHead,
    ResponseHead,
    encode_fields,
    encode_request,
    encode_response,
    end_to_end,
    field_values,
    parse_request,
    parse_response,
    parse_status,
    persistent,
)
from mihomo_tproxy.errors import LocalProtocolError, ProtocolError, RemoteProtocolError

# RFC 9112, 3.2.2 and 9.6; the fields of RFC 9110's examples.
REQUEST = (
    b"GET http://www.example.org/pub/WWW/TheProject.html HTTP/1.1\r\n"
    b"Host: www.example.org\r\nAccept:\t text/html \r\nX-Empty:\r\n\r\n"
)
TOKEN = st.text("!#$%&'*+-.^_`|~0Az", min_size=1, max_size=8)
VALUE = st.text(st.characters(max_codepoint=255, blacklist_characters="\0\r\n"), max_size=16)


def read(data: bytes) -> bytes:
    found = HeadReader().feed(data)
    assert found is not None
    return found[0]


def trickle(reader: HeadReader, data: bytes) -> None:
    for byte in data:
        reader.feed(bytes((byte,)))


def test_a_request() -> None:
    assert parse_request(read(REQUEST)) == RequestHead(
        "GET",
        "http://www.example.org/pub/WWW/TheProject.html",
        1,
        [("Host", "www.example.org"), ("Accept", "text/html"), ("X-Empty", "")],
    )


@pytest.mark.parametrize(
    ("line", "status", "reason", "minor"),
    [
        (b"HTTP/1.1 200 OK", 200, "OK", 1),
        (b"HTTP/1.0 200 Connection established", 200, "Connection established", 0),
        (b"HTTP/1.1 404 ", 404, "", 1),
        (b"HTTP/1.1 204", 204, "", 1),
        (b"HTTP/1.1 200 \xe9t\xe9", 200, "été", 1),
    ],
)
def test_a_response(line: bytes, status: int, reason: str, minor: int) -> None:
    assert parse_response(line + b"\r\nA: b") == ResponseHead(status, reason, minor, [("A", "b")])
    assert parse_status(line + b"\r\nA: b") == status


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"GET /",
        b"GET  / HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b"GET / HTTP/2.0",
        b"GET / http/1.1",
        b"GET / HTTP/1.10",
        b"G(T / HTTP/1.1",
        b"GET /a b HTTP/1.1",
        b"GET / HTTP/1.1\r\nHost : a",
        b"GET / HTTP/1.1\r\n Host: a",
        b"GET / HTTP/1.1\r\nHost: a\r\n b",
        b"GET / HTTP/1.1\r\nHost",
        b"GET / HTTP/1.1\r\n: a",
        b"GET / HTTP/1.1\r\nA: b\rC: d",
        b"GET / HTTP/1.1\r\nA: b\nC: d",
        b"GET / HTTP/1.1\r\nA: b\0",
        b"GET / HTTP/1.1" + b"\r\nA: b" * (MAX_FIELDS + 1),
    ],
)
def test_requests_that_could_be_misread(head: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_request(head)


@pytest.mark.parametrize(
    "head", [b"", b"HTTP/1.1", b"HTTP/1.1 20", b"HTTP/1.1 2000 OK", b"HTTP/1.1 099 x", b"220 ok"]
)
def test_what_is_no_response(head: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_response(head)
    with pytest.raises(RemoteProtocolError):
        parse_status(head)


def test_byte_by_byte_and_every_truncation() -> None:
    reader = HeadReader()
    assert reader.empty
    for byte in REQUEST[:-1]:
        assert reader.feed(bytes((byte,))) is None
        assert not reader.empty
    assert reader.feed(REQUEST[-1:]) == (REQUEST[:-4], b"")
    for cut in range(1, len(REQUEST)):
        reader = HeadReader()
        assert reader.feed(REQUEST[:cut]) is None
        assert reader.feed(REQUEST[cut:] + b"rest") == (REQUEST[:-4], b"rest")


def test_one_head_after_another() -> None:
    reader = HeadReader()
    found = reader.feed(REQUEST * 2 + b"tail")
    assert found is not None
    assert reader.empty
    assert reader.feed(found[1]) == (REQUEST[:-4], b"tail")


@pytest.mark.parametrize("empty", [1, 2, 3])
def test_empty_lines_before_a_head(empty: int) -> None:
    data = b"\r\n" * empty + REQUEST
    assert HeadReader().feed(data) == (REQUEST[:-4], b"")
    reader = HeadReader(b"GET")
    found = [reader.feed(bytes((byte,))) for byte in data]
    assert found[-1] == (REQUEST[:-4], b"")
    assert not any(found[:-1])


def test_a_head_is_capped() -> None:
    reader = HeadReader()
    assert reader.feed(b"GET / HTTP/1.1\r\nA: ".ljust(MAX_HEAD_BYTES, b"b")) is None
    with pytest.raises(RemoteProtocolError) as caught:
        reader.feed(b"b")
    assert caught.value.cause == "http-head-too-large"
    with pytest.raises(RemoteProtocolError):
        HeadReader().feed(b"b" * (MAX_HEAD_BYTES + 1) + b"\r\n\r\n")


def test_a_line_without_cr_is_not_waited_for() -> None:
    for data in (b"GET / HTTP/1.1\nHost: a\n", b"\n", b"GET / HTTP/1.1\r\nA: b\n"):
        with pytest.raises(RemoteProtocolError):
            HeadReader().feed(data)
        with pytest.raises(RemoteProtocolError):
            trickle(HeadReader(), data)


def test_another_start_is_not_waited_for() -> None:
    reader = HeadReader(b"HTTP/")
    assert reader.feed(b"HT") is None
    with pytest.raises(RemoteProtocolError):
        reader.feed(b"ML")
    with pytest.raises(RemoteProtocolError):
        HeadReader(b"HTTP/").feed(b"\x05\x00")


@given(st.lists(st.binary(max_size=40), max_size=8), st.sampled_from([b"", b"HTTP/"]))
def test_chunking_does_not_matter(chunks: list[bytes], start: bytes) -> None:
    def outcome(parts: list[bytes]) -> object:
        reader = HeadReader(start)
        for place, part in enumerate(parts):
            try:
                found = reader.feed(part)
            except ProtocolError:
                return None
            if found is not None:
                return found[0], found[1] + b"".join(parts[place + 1 :])
        return "incomplete"

    data = b"".join(chunks)
    trickled = outcome([bytes((byte,)) for byte in data])
    assert outcome(chunks) == trickled or trickled is None


@given(st.binary(max_size=200))
def test_only_protocol_errors_escape(data: bytes) -> None:
    for parse in (parse_request, parse_response, parse_status):
        try:
            parse(data)
        except ProtocolError:
            pass


@given(TOKEN, st.lists(st.tuples(TOKEN, VALUE), max_size=5))
def test_written_and_read_again(method: str, headers: list[tuple[str, str]]) -> None:
    stripped = [(name, value.strip(" \t")) for name, value in headers]
    data = encode_request(method, "/x?y", headers)
    assert parse_request(read(data)) == RequestHead(method, "/x?y", 1, stripped)
    data = encode_response(299, "Fine so far", headers)
    assert parse_response(read(data)) == ResponseHead(299, "Fine so far", 1, stripped)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", "a"),
        ("a b", "c"),
        ("a:", "c"),
        ("é", "c"),
        ("a", "b\r\nc: d"),
        ("a", "\0"),
        ("a", "中"),
    ],
)
def test_fields_that_cannot_be_written(name: str, value: str) -> None:
    with pytest.raises(LocalProtocolError):
        encode_fields([(name, value)])


@pytest.mark.parametrize("target", ["", "/a b", "/\r\nA: b", "/中"])
def test_lines_that_cannot_be_written(target: str) -> None:
    with pytest.raises(LocalProtocolError):
        encode_request("GET", target, [])
    with pytest.raises(LocalProtocolError):
        encode_response(200, target.replace(" ", "\n") or "\n", [])


@pytest.mark.parametrize(
    ("minor", "headers", "expected"),
    [
        (1, [], True),
        (0, [], False),
        (0, [("Connection", "Keep-Alive")], True),
        (0, [("Proxy-Connection", "keep-alive")], True),
        (1, [("connection", "TE, Close")], False),
        (1, [("Proxy-Connection", "close")], False),
    ],
)
def test_persistence(minor: int, headers: list[tuple[str, str]], expected: bool) -> None:
    assert persistent(RequestHead("GET", "/", minor, headers)) is expected


def test_a_response_has_no_proxy_connection() -> None:
    assert persistent(ResponseHead(200, "", 1, [("Proxy-Connection", "close")]))


def test_fields_for_the_other_end() -> None:
    headers = [
        ("Host", "a"),
        ("Connection", "X-Hop, close, Host, Transfer-Encoding"),
        ("x-hop", "1"),
        ("Proxy-Authorization", "Basic eDp5"),
        ("Keep-Alive", "5"),
        ("Transfer-Encoding", "chunked"),
        ("Cookie", "a=b"),
    ]
    assert end_to_end(headers) == [headers[0], headers[5], headers[6]]


def test_lists_over_several_fields() -> None:
    headers = [("Via", "A , b"), ("x", "y"), ("VIA", ",c")]
    assert field_values(headers, "via") == ["a", "b", "c"]
