"""One HTTP/2 stream against the `h2` library: windows both ways, ends, and servers that err."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.feeding import cut, fed, outcome, sealed, taken, trickled
from support.h2_server import H2Server

from mihomo_tproxy.codec import h2frames as h2
from mihomo_tproxy.config.specs.transport import H2Spec
from mihomo_tproxy.errors import LocalProtocolError, RemoteProtocolError
from mihomo_tproxy.transport.h2 import (
    MAX_HELD_BYTES,
    OUR_WINDOW,
    WINDOW_STEP,
    H2Layer,
    h2_openings,
    opening,
)

SPEC = H2Spec(hosts=("h2.example",), path="/p")
OPENINGS = h2_openings(SPEC, tls=True)
SETTINGS = h2.encode_settings([])
OK = SETTINGS + h2.encode_frame(h2.HEADERS, h2.END_HEADERS, 1, b"\x88")


def layer() -> H2Layer:
    found = H2Layer(OPENINGS)
    found.begin()
    return found


def asked() -> H2Layer:
    """One whose request was sent."""
    found = layer()
    found.seal(b"")
    return found


def control(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return h2.encode_frame(kind, flags, stream, payload)


def test_the_request_leaves_with_the_first_payload() -> None:
    """The same headers as mihomo 1.19.32 sends for this configuration, which huffman-codes them."""
    found, server = layer(), H2Server()
    assert found.ready
    assert taken(found) == b""
    server.receive(sealed(found, b"hello"))
    assert server.payload == b"hello"
    assert server.headers == [
        (":method", "PUT"),
        (":scheme", "https"),
        (":path", "/p"),
        (":authority", "h2.example"),
        ("accept-encoding", "identity"),
        ("user-agent", "Go-http-client/2.0"),
    ]
    settings = server.connection.remote_settings
    assert (settings.enable_push, settings.initial_window_size) == (0, OUR_WINDOW)
    assert server.connection.outbound_flow_control_window == OUR_WINDOW
    assert sealed(found, b"!")[-1:] == b"!"


def test_a_server_may_speak_first() -> None:
    """As nginx does; what we say to that comes behind the opening."""
    found, server = layer(), H2Server()
    assert found.feed(server.connection.data_to_send()) == b""
    server.receive(taken(found))
    server.receive(sealed(found, b"hello"))
    assert server.payload == b"hello"


def test_a_host_is_drawn() -> None:
    openings = h2_openings(H2Spec(hosts=("a", "b")), tls=False)
    drawn = {bytes(H2Layer(openings).seal(b"")) for _ in range(100)}
    assert drawn == set(openings)


def test_a_long_header_block_is_continued() -> None:
    server = H2Server()
    server.connection.decoder.max_header_list_size = 1 << 20
    headers = [(":method", "GET"), (":path", "/" + "x" * 40000), (":scheme", "http")]
    headers += [(":authority", "a")]
    server.receive(opening(headers))
    assert server.headers == headers


@pytest.mark.parametrize("feeding", [lambda wire: [wire], trickled])
@pytest.mark.parametrize("padding", [None, 0, 200])
def test_both_ways_and_both_ends(feeding, padding: int | None) -> None:
    found, server = layer(), H2Server(1 << 20, 1 << 20)
    answer = server.receive(sealed(found, b""))
    server.receive(fed(found, feeding(answer))[1])
    payload = bytes(range(256)) * 200
    server.receive(sealed(found, payload))
    assert server.payload == payload
    wire = server.answer() + server.send(payload, padding=padding)
    assert fed(found, feeding(wire)) == (payload, b"")
    assert not found.ended
    server.receive(bytes(found.finish()))
    assert server.ended
    assert found.finish() == b""
    assert not found.ends_below
    assert fed(found, feeding(server.send(b"last", end=True)))[0] == b"last"
    assert found.ended
    found.feed_eof()


def test_trailers_end_too() -> None:
    found, server = layer(), H2Server()
    server.receive(sealed(found, b""))
    found.feed(SETTINGS + server.answer() + server.send(b"x"))
    assert found.feed(server.answer(("x-trailer", "1"), end=True)) == b""
    assert found.ended


def test_informational_responses_are_passed_over() -> None:
    found = asked()
    block = h2.encode_header_block([(":status", "103")])
    assert found.feed(SETTINGS + control(h2.HEADERS, h2.END_HEADERS, 1, block)) == b""
    assert found.feed(OK[len(SETTINGS) :] + h2.data_head(1) + b"x") == b"x"


def test_the_servers_windows_are_kept() -> None:
    """The library raises when they are not."""
    found, server = layer(), H2Server(window=1000)
    payload = bytes(range(256)) * 300
    server_says = server.receive(sealed(found, payload[:65536]))
    assert found.blocked
    assert len(server.payload) == 65535
    found.feed(server_says)
    taken(found)
    for _ in range(1000):
        if server.payload == payload[:65536]:
            break
        found.feed(server.acknowledge(server.unacknowledged))
        server.receive(taken(found))
    assert server.payload == payload[:65536]


def test_held_payload_comes_before_the_end() -> None:
    found, server = layer(), H2Server()
    server.receive(sealed(found, bytes(65536)))
    assert found.blocked
    assert found.finish() == b""
    found.feed(SETTINGS + h2.encode_window_update(0, 5))
    assert found.blocked
    found.feed(h2.encode_window_update(1, 5))
    wire = taken(found)
    assert not found.blocked
    server.receive(server_acknowledged(server, wire))
    assert server.ended
    assert len(server.payload) == 65536


def server_acknowledged(server: H2Server, wire: bytes) -> bytes:
    """The wire, after the library was told that its windows grew as the test told ours."""
    server.acknowledge(server.unacknowledged)
    return wire


def test_windows_may_shrink_below_nothing() -> None:
    found = asked()
    found.seal(bytes(60000))
    found.feed(OK + h2.encode_settings([(4, 10)]))
    taken(found)
    assert found.seal(b"abc") == b""
    assert found.blocked
    found.feed(h2.encode_window_update(1, 59990))
    assert taken(found) == b""
    found.feed(h2.encode_window_update(1, 2))
    assert taken(found) == h2.data_head(2) + b"ab"
    found.feed(h2.encode_window_update(1, 9))
    assert taken(found) == h2.data_head(1) + b"c"
    assert not found.blocked


def test_frames_are_as_large_as_the_server_takes() -> None:
    found = asked()
    assert sealed(found, bytes(20000)) == (
        h2.data_head(16384) + bytes(16384) + h2.data_head(3616) + bytes(3616)
    )
    found.feed(h2.encode_settings([(5, 20000), (4, 1 << 20)]))
    assert sealed(found, bytes(20000)) == h2.data_head(20000) + bytes(20000)


def test_what_is_held_is_capped() -> None:
    found = asked()
    found.seal(bytes(65535))
    assert found.blocked
    found.seal(bytes(MAX_HELD_BYTES))
    with pytest.raises(LocalProtocolError) as caught:
        found.seal(b"x")
    assert caught.value.cause == "h2-blocked"


def test_our_windows_are_refilled() -> None:
    found = asked()
    found.feed(OK)
    taken(found)
    chunk = bytes(1 << 20)
    for _ in range(WINDOW_STEP >> 20):
        assert taken(found) == b""
        assert len(found.feed(h2.data_head(len(chunk)) + chunk)) == len(chunk)
    assert taken(found) == b"".join(
        h2.encode_window_update(stream, WINDOW_STEP) for stream in (0, 1)
    )


def test_settings_and_pings_are_acknowledged() -> None:
    found = asked()
    found.feed(OK + control(h2.PING, payload=b"12345678") + control(h2.SETTINGS, h2.ACK))
    found.feed(control(h2.PING, h2.ACK, 0, bytes(8)))
    assert taken(found) == control(h2.SETTINGS, h2.ACK) + control(h2.PING, h2.ACK, 0, b"12345678")


def test_a_server_that_has_said_everything_may_refuse_the_rest() -> None:
    """RFC 9113, 8.1: a complete response, then RST_STREAM with NO_ERROR."""
    found = asked()
    found.seal(bytes(65536))
    found.feed(OK + h2.data_head(0, h2.END_STREAM) + control(h2.RST_STREAM, 0, 1, bytes(4)))
    assert found.ended
    assert not found.blocked
    taken(found)
    assert found.seal(b"unwanted") == b""
    assert found.finish() == b""


def test_a_graceful_goaway_changes_nothing() -> None:
    found = asked()
    found.feed(OK + control(h2.GOAWAY, payload=bytes.fromhex("7fffffff00000000")))
    assert found.feed(h2.data_head(1) + b"x") == b"x"


@pytest.mark.parametrize(
    ("wire", "cause"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "h2-not-http2"),
        (SETTINGS + h2.data_head(1) + b"x", "h2-protocol"),
        (SETTINGS + control(h2.HEADERS, 4, 1, b"\x8d"), "h2-status"),
        (
            SETTINGS + control(h2.HEADERS, 5, 1, h2.encode_header_block([(":status", "100")])),
            "h2-status",
        ),
        (SETTINGS + control(h2.HEADERS, 4, 1, b""), "h2-status"),
        (SETTINGS + control(h2.HEADERS, 4, 1, b"\xff\xff\xff\xff\xff\xff"), "h2-protocol"),
        (SETTINGS + control(h2.HEADERS, 4, 1, b"\xc0"), "h2-protocol"),
        (OK + OK[len(SETTINGS) :], "h2-protocol"),
        (OK + h2.data_head(0, 1) + h2.data_head(1) + b"x", "h2-protocol"),
        (OK + h2.data_head(0, 1) + control(h2.HEADERS, 5, 1, b"\x88"), "h2-protocol"),
        (OK + control(h2.RST_STREAM, 0, 1, b"\0\0\0\x08"), "h2-reset"),
        (OK + control(h2.RST_STREAM, 0, 3, bytes(4)), "h2-protocol"),
        (OK + control(h2.RST_STREAM, 0, 1, bytes(3)), "h2-protocol"),
        (OK + control(h2.GOAWAY, payload=bytes.fromhex("0000000100000002")), "h2-goaway"),
        (SETTINGS + control(h2.GOAWAY, payload=bytes(8)), "h2-goaway"),
        (OK + control(h2.GOAWAY, payload=bytes(7)), "h2-protocol"),
        (OK + control(h2.PING, payload=bytes(7)), "h2-protocol"),
        (OK + control(h2.PUSH_PROMISE, 4, 1, bytes(5)), "h2-protocol"),
        (OK + control(h2.SETTINGS, 0, 1), "h2-protocol"),
        (OK + control(h2.SETTINGS, h2.ACK, 0, bytes(6)), "h2-protocol"),
        (OK + control(h2.SETTINGS, 0, 0, bytes(5)), "h2-protocol"),
        (h2.encode_settings([(5, 16383)]), "h2-protocol"),
        (h2.encode_settings([(5, 1 << 24)]), "h2-protocol"),
        (h2.encode_settings([(4, 1 << 31)]), "h2-protocol"),
        (OK + h2.encode_window_update(1, 0), "h2-protocol"),
        (OK + h2.encode_window_update(3, 1), "h2-protocol"),
        (OK + control(h2.WINDOW_UPDATE, 0, 1, bytes(5)), "h2-protocol"),
        (OK + h2.encode_window_update(0, (1 << 31) - 1), "h2-protocol"),
        (OK + h2.encode_window_update(1, (1 << 31) - 65535), "h2-protocol"),
    ],
)
def test_servers_that_err(wire: bytes, cause: str) -> None:
    for chunks in ([wire], trickled(wire)):
        with pytest.raises(RemoteProtocolError) as caught:
            fed(asked(), chunks)
        assert caught.value.cause == cause


def test_truncated_at_every_offset() -> None:
    wire = OK + h2.data_head(3) + b"abc" + h2.data_head(0, h2.END_STREAM)
    for end in range(len(wire)):
        found = asked()
        got = found.feed(wire[:end])
        assert b"abc".startswith(bytes(got))
        with pytest.raises(RemoteProtocolError) as caught:
            found.feed_eof()
        assert caught.value.cause == ("h2-truncated" if end >= len(OK) else "h2-no-response")


FRAMES = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 63), st.integers(0, 1), st.binary(max_size=12))
).map(lambda frames: OK + b"".join(h2.encode_frame(*frame) for frame in frames))


@given(st.binary(max_size=120) | FRAMES, st.lists(st.integers(1, 20), max_size=30))
def test_only_protocol_errors_escape_in_any_pieces(wire: bytes, sizes: list[int]) -> None:
    whole = outcome(lambda: fed(asked(), [wire]))
    pieces = outcome(lambda: fed(asked(), cut(wire, sizes)))
    failed = isinstance(whole, str), isinstance(pieces, str)
    assert failed == (True, True) or whole == pieces  # of two errors, either may be the first


@given(
    st.lists(st.binary(min_size=1, max_size=3000), max_size=8),
    st.lists(st.integers(1, 5000), max_size=20),
    st.integers(0, 4000),
)
def test_round_trip_with_any_window(payloads: list[bytes], sizes: list[int], window: int) -> None:
    found, server = layer(), H2Server(window=window)
    found.feed(server.receive(sealed(found, b"")) + server.answer())
    server.receive(taken(found))
    for payload in payloads:
        server.receive(sealed(found, payload))
        while found.blocked and server.unacknowledged:
            found.feed(server.acknowledge(server.unacknowledged))
            server.receive(taken(found))
    assert b"".join(payloads).startswith(server.payload)
    assert window == 0 or server.payload == b"".join(payloads)
    wire = b"".join(server.send(payload) for payload in payloads)
    assert fed(found, cut(wire, sizes))[0] == b"".join(payloads)
