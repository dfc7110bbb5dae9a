"""WebSocket against the server of the `websockets` library, and against servers that are none."""

from __future__ import annotations

from base64 import urlsafe_b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.feeding import cut, fed, outcome, sealed, taken, trickled
from websockets.frames import Frame
from websockets.server import ServerProtocol

from mihomo_tproxy.config.specs.transport import WebSocketSpec
from mihomo_tproxy.errors import LocalProtocolError, RemoteProtocolError
from mihomo_tproxy.transport.upgrade import MAX_WAITING_BYTES, UpgradeRequest
from mihomo_tproxy.transport.websocket import WebSocketLayer

HOST = (("Host", "h.example"),)
EARLY = "Sec-WebSocket-Protocol"
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
NONCE = b"the sample nonce"
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""RFC 6455, 1.3."""
ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n\r\n"
)


def random(size: int) -> bytes:
    return NONCE[:size]


def layer(max_early_data: int = 0, header: str = EARLY) -> WebSocketLayer:
    spec = WebSocketSpec("/p", HOST, max_early_data, header if max_early_data else "")
    found = WebSocketLayer(UpgradeRequest(spec), random)
    found.begin()
    return found


def opened() -> WebSocketLayer:
    found = layer()
    taken(found)
    assert found.feed(ANSWER) == b""
    return found


class Server:
    """The library's server: takes any handshake, collects payload."""

    def __init__(self) -> None:
        self.protocol = ServerProtocol(max_size=None)
        self.request = None
        self.payload = b""
        self.closed = False

    def receive(self, wire: bytes) -> bytes:
        """Its answer to what arrived."""
        if wire:
            self.protocol.receive_data(wire)
        for event in self.protocol.events_received():
            if isinstance(event, Frame):
                self.payload += event.data if event.opcode in (0, 1, 2) else b""
                self.closed = self.closed or event.opcode == 8
            else:
                self.request = event
                self.protocol.send_response(self.protocol.accept(event))
        return b"".join(self.protocol.data_to_send())

    def send(self, payload: bytes) -> bytes:
        self.protocol.send_binary(payload)
        return b"".join(self.protocol.data_to_send())


def test_the_request_and_the_frame_of_rfc_6455() -> None:
    """RFC 6455, 1.3: this nonce gives this key and this accept value."""
    found = layer()
    assert not found.ready
    assert b"\r\nSec-WebSocket-Key: " + KEY + b"\r\n" in taken(found)
    assert found.seal(b"") == b""
    assert found.feed(ANSWER + b"\x82\x02hi") == b"hi"
    assert found.ready
    assert not found.blocked
    assert found.seal(b"") == b""
    assert not found.ends_below


@pytest.mark.parametrize("size", [1, 125, 126, 65535, 65536, 200_000])
def test_both_ways_with_a_real_server(size: int) -> None:
    payload = bytes(range(251)) * (size // 251 + 1)
    payload = payload[:size]
    found, server = layer(), Server()
    answer = server.receive(taken(found))
    assert fed(found, trickled(answer)) == (b"", b"")
    assert found.ready
    assert server.receive(sealed(found, payload)) == b""
    assert server.payload == payload
    assert fed(found, [server.send(payload)]) == (payload, b"")


@pytest.mark.parametrize("header", [EARLY, "X-Early", ""])
@pytest.mark.parametrize("size", [0, 1, 16, 17, 65536])
def test_early_data(header: str, size: int) -> None:
    payload = bytes(range(256)) * 256
    payload = payload[:size]
    found, server = layer(16, header), Server()
    assert found.ready
    assert taken(found) == b""
    answer = server.receive(sealed(found, payload))
    assert found.blocked
    request = server.request
    assert request is not None
    encoded = request.headers.get(header, "") if header else request.path.removeprefix("/p")
    early = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    assert early == payload[:16]
    assert found.feed(answer) == b""
    assert not found.blocked
    server.receive(taken(found))
    assert early + server.payload == payload
    server.receive(sealed(found, b"more"))
    assert early + server.payload == payload + b"more"


def test_what_layers_above_say_meanwhile_waits_up_to_a_limit() -> None:
    found = layer(16)
    found.seal(b"x" * 20)
    assert found.seal(b"abc") == b""
    with pytest.raises(LocalProtocolError) as caught:
        found.seal(bytes(MAX_WAITING_BYTES))
    assert caught.value.cause == "http-too-early"


def test_ping_is_answered_and_close_too() -> None:
    found, server = layer(), Server()
    found.feed(server.receive(taken(found)))
    server.protocol.send_ping(b"are you there")
    wire = b"".join(server.protocol.data_to_send())
    assert found.feed(wire) == b""
    server.receive(taken(found))
    server.protocol.send_close(1000, "bye")
    wire = b"".join(server.protocol.data_to_send())
    assert found.feed(wire) == b""
    assert found.ended
    server.receive(taken(found))
    assert server.closed
    assert server.protocol.close_rcvd is not None
    assert server.protocol.close_rcvd.code == 1000
    found.feed_eof()


def test_after_our_close_frame_the_end_of_the_wire_is_the_end() -> None:
    """sing-box answers a close frame at once, and goes on sending."""
    found, server = layer(), Server()
    found.feed(server.receive(taken(found)))
    server.receive(sealed(found, b"all"))
    answer = server.receive(bytes(found.finish()))
    assert (server.payload, server.closed) == (b"all", True)
    assert found.finish() == b""
    assert fed(found, trickled(b"\x82\x01x" + answer + b"\x89\x00\x82\x01y")) == (b"xy", b"")
    assert not found.ended
    found.feed_eof()


def test_the_close_frame_follows_what_waits() -> None:
    found, server = layer(3), Server()
    answer = server.receive(sealed(found, b"hello"))
    assert found.finish() == b""
    found.feed(answer)
    server.receive(taken(found))
    assert (server.payload, server.closed) == (b"lo", True)


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (ANSWER.replace(b"s3pP", b"S3pP"), "websocket-accept"),
        (ANSWER.replace(b"Sec-WebSocket-Accept", b"X-Accept"), "websocket-accept"),
        (ANSWER.replace(b"101", b"200"), "http-status"),
        (ANSWER.replace(b"Upgrade: websocket", b"X: y"), "http-no-upgrade"),
        (b"SSH-2.0-OpenSSH\r\n", "http-bad-head"),
        (b"HTTP/1.1 400 Bad Request\r\n" + b"X: y\r\n" * 20000, "http-head-too-large"),
        (ANSWER + b"\xff\xff", "websocket-frame"),
        (ANSWER + b"\x88\x02\x03\xf3", "websocket-closed"),
    ],
)
def test_refusals(answer: bytes, cause: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        layer().feed(answer)
    assert caught.value.cause == cause


def test_truncated_at_every_offset() -> None:
    wire = ANSWER + b"\x82\x03abc"
    for end in range(len(wire) + 1):
        found = layer()
        assert found.feed(wire[:end]) == b"abc"[: max(end - len(ANSWER) - 2, 0)]
        expected = None
        if end < len(ANSWER):
            expected = "http-eof"
        elif len(ANSWER) < end < len(wire):
            expected = "websocket-truncated"
        assert outcome(found.feed_eof) == expected


@given(
    st.binary(max_size=99) | st.binary(max_size=99).map(lambda data: ANSWER + data),
    st.lists(st.integers(1, 60), max_size=30),
)
def test_only_protocol_errors_escape_in_any_pieces(wire: bytes, sizes: list[int]) -> None:
    assert outcome(lambda: fed(layer(), [wire])[0]) == outcome(
        lambda: fed(layer(), cut(wire, sizes))[0]
    )


@given(st.lists(st.binary(min_size=1, max_size=500), max_size=6), st.data())
def test_round_trip_in_any_pieces(payloads: list[bytes], data: st.DataObject) -> None:
    found, server = opened(), Server()
    server.receive(taken(layer()))
    for payload in payloads:
        server.receive(sealed(found, payload))
    assert server.payload == b"".join(payloads)
    wire = b"".join(map(server.send, payloads))
    sizes = data.draw(st.lists(st.integers(1, 300), max_size=20))
    assert fed(found, cut(wire, sizes)) == (b"".join(payloads), b"")
