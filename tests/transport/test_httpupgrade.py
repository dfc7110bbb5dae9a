"""HTTP upgrade: what waits for the answer, and that nothing is changed after it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.feeding import cut, fed, outcome, sealed, taken, trickled

from mihomo_tproxy.config.specs.transport import WebSocketSpec
from mihomo_tproxy.errors import LocalProtocolError, RemoteProtocolError
from mihomo_tproxy.transport.httpupgrade import HttpUpgradeLayer
from mihomo_tproxy.transport.upgrade import MAX_WAITING_BYTES, UpgradeRequest

HOST = (("Host", "h.example"),)
REQUEST = (
    b"GET /p HTTP/1.1\r\nHost: h.example\r\nUser-Agent: Go-http-client/1.1\r\n"
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
)
"""As mihomo 1.19.32 writes it."""
EARLY_REQUEST = REQUEST[:-2] + b"X-Early: aGVs\r\n\r\n"
ANSWER = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
"""As v2ray's and sing-box's servers write it."""


def layer(max_early_data: int = 0, fast_open: bool = False) -> HttpUpgradeLayer:
    spec = WebSocketSpec("/p", HOST, max_early_data, "X-Early")
    found = HttpUpgradeLayer(UpgradeRequest(spec), fast_open)
    found.begin()
    return found


@pytest.mark.parametrize("feeding", [lambda wire: [wire], trickled])
def test_in_turn(feeding) -> None:
    found = layer()
    assert taken(found) == REQUEST
    assert not found.ready
    assert fed(found, feeding(ANSWER + b"first")) == (b"first", b"")
    assert found.ready
    assert found.transparent
    assert found.seal(b"up") == b"up"
    assert found.feed(b"down") == b"down"
    found.feed_eof()
    assert found.finish() == b""
    assert found.ends_below


def test_fast_open() -> None:
    found = layer(fast_open=True)
    assert found.ready
    assert taken(found) == b""
    assert sealed(found, b"hello") == REQUEST + b"hello"
    assert sealed(found, b"more") == b"more"
    assert not found.blocked
    assert not found.transparent
    assert found.feed(ANSWER) == b""
    assert found.transparent
    assert taken(found) == b""


def test_fast_open_with_early_data() -> None:
    found = layer(3, fast_open=True)
    assert sealed(found, b"hello") == EARLY_REQUEST + b"lo"


def test_early_data() -> None:
    found = layer(3)
    assert found.ready
    assert sealed(found, b"hello") == EARLY_REQUEST
    assert found.blocked
    assert sealed(found, b" more") == b""
    assert found.feed(ANSWER + b"x") == b"x"
    assert taken(found) == b"lo more"
    assert not found.blocked
    assert found.transparent


def test_a_server_that_speaks_first() -> None:
    """An answer to a request that was not sent: payload still goes behind the request."""
    found = layer(fast_open=True)
    assert found.feed(ANSWER + b"x") == b"x"
    assert not found.transparent
    assert sealed(found, b"hello") == REQUEST + b"hello"
    assert found.transparent


def test_what_waits_is_capped() -> None:
    found = layer(3)
    found.seal(b"")
    with pytest.raises(LocalProtocolError) as caught:
        found.seal(bytes(MAX_WAITING_BYTES + 1))
    assert caught.value.cause == "http-too-early"


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (ANSWER.replace(b"101", b"404"), "http-status"),
        (ANSWER.replace(b"upgrade\r", b"close\r"), "http-no-upgrade"),
        (b"garbage", "http-bad-head"),
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


@given(
    st.binary(max_size=99) | st.binary(max_size=99).map(lambda data: ANSWER + data),
    st.lists(st.integers(1, 60), max_size=30),
)
def test_only_protocol_errors_escape_in_any_pieces(wire: bytes, sizes: list[int]) -> None:
    assert outcome(lambda: fed(layer(), [wire])[0]) == outcome(
        lambda: fed(layer(), cut(wire, sizes))[0]
    )
