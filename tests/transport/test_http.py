"""The HTTP disguise: one request head up, one response head down, as mihomo and v2ray have it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.feeding import cut, fed, outcome, sealed, taken, trickled

from mihomo_tproxy.config.specs.transport import HttpSpec
from mihomo_tproxy.errors import NoAnswer, RemoteProtocolError
from mihomo_tproxy.transport.http import HttpLayer, HttpRequest

SPEC = HttpSpec(
    paths=("/b",), headers=(("User-Agent", ("ua",)), ("Host", ("h1.example",)), ("X-A", ("1",)))
)
ANSWER = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nPragma: no-cache\r\n\r\n"
"""v2ray's, shortened."""


def layer() -> HttpLayer:
    found = HttpLayer(HttpRequest(SPEC))
    found.begin()
    return found


def test_request() -> None:
    """mihomo 1.19.32 writes the same, but for the order of the headers."""
    found = layer()
    assert found.ready
    assert taken(found) == b""
    assert sealed(found, b"hello") == (
        b"GET /b HTTP/1.1\r\nHost: h1.example\r\nUser-Agent: ua\r\nX-A: 1\r\n"
        b"Content-Length: 5\r\n\r\nhello"
    )
    assert sealed(found, b"more") == b"more"
    assert not found.transparent
    assert found.feed(ANSWER + b"first") == b"first"
    assert found.transparent
    found.feed_eof()


def test_request_without_payload() -> None:
    spec = HttpSpec("POST", ("/",), (("Host", ("h",)), ("content-length", ("7",))))
    assert HttpLayer(HttpRequest(spec)).seal(b"") == (
        b"POST / HTTP/1.1\r\nHost: h\r\nUser-Agent: Go-http-client/1.1\r\n\r\n"
    )


def test_paths_and_values_are_drawn() -> None:
    spec = HttpSpec(paths=("/a", "/b"), headers=(("Host", ("h1", "h2")),))
    request = HttpRequest(spec)
    drawn = {tuple(request.build(0).split(b"\r\n")[:2]) for _ in range(200)}
    assert drawn == {
        (b"GET " + path + b" HTTP/1.1", b"Host: " + host)
        for path in (b"/a", b"/b")
        for host in (b"h1", b"h2")
    }


def test_a_server_that_speaks_first() -> None:
    found = layer()
    assert fed(found, trickled(ANSWER + b"x")) == (b"x", b"")
    assert found.feed(b"y") == b"y"
    assert not found.transparent
    assert sealed(found, b"").endswith(b"\r\n\r\n")
    assert found.transparent


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "http-status"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", "http-status"),
        (b"garbage", "http-bad-head"),
        (b"HTTP/1.1 200 OK\n\n", "http-bad-head"),
    ],
)
def test_refusals(answer: bytes, cause: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        layer().feed(answer)
    assert caught.value.cause == cause


def test_truncated_at_every_offset() -> None:
    for end in range(len(ANSWER)):
        found = layer()
        assert found.feed(ANSWER[:end]) == b""
        with pytest.raises(RemoteProtocolError) as caught:
            found.feed_eof()
        assert caught.value.cause == "http-eof"
        assert isinstance(caught.value, NoAnswer) == (end == 0)


@given(
    st.binary(max_size=99) | st.binary(max_size=99).map(lambda data: ANSWER + data),
    st.lists(st.integers(1, 60), max_size=30),
)
def test_only_protocol_errors_escape_in_any_pieces(wire: bytes, sizes: list[int]) -> None:
    assert outcome(lambda: fed(layer(), [wire])) == outcome(lambda: fed(layer(), cut(wire, sizes)))
