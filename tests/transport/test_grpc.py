"""gRPC messages: mihomo's own, TunMulti's, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.feeding import cut, fed, outcome, sealed, taken, trickled
from support.h2_server import H2Server

from mihomo_tproxy.codec import h2frames as h2
from mihomo_tproxy.config.specs.transport import GrpcSpec
from mihomo_tproxy.errors import RemoteProtocolError
from mihomo_tproxy.transport.grpc import GrpcLayer, grpc_opening, message_prefix

OK = h2.encode_settings([]) + h2.encode_frame(h2.HEADERS, h2.END_HEADERS, 1, b"\x88")
MIHOMO_PREFIX = "00000000400a3e"
"""Before a payload of 62 bytes, captured from mihomo 1.19.32."""


def layer(spec: GrpcSpec | None = None, tls: bool = True) -> GrpcLayer:
    found = GrpcLayer(grpc_opening(spec or GrpcSpec("Svc"), "sn.example", 8443, tls))
    found.begin()
    return found


def asked() -> GrpcLayer:
    found = layer()
    found.seal(b"")
    return found


def data(payload: bytes, flags: int = 0) -> bytes:
    return h2.data_head(len(payload), flags) + payload


def trailers(*headers: tuple[str, str]) -> bytes:
    block = h2.encode_header_block(headers)
    return h2.encode_frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 1, block)


def parsed(body: bytes) -> list[bytes]:
    """The payloads of messages, read by another reader than ours."""
    found = []
    while body:
        size = int.from_bytes(body[1:5], "big")
        message, body = body[5 : 5 + size], body[5 + size :]
        length, shift, at = 0, 0, 1
        while True:
            length |= (message[at] & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if message[at - 1] < 0x80:
                break
        assert (message[0], length) == (0x0A, len(message) - at)
        found.append(message[at:])
    return found


def test_the_request() -> None:
    found, server = layer(), H2Server()
    server.receive(sealed(found, b"x" * 62))
    assert server.headers == [
        (":method", "POST"),
        (":scheme", "https"),
        (":path", "/Svc/Tun"),
        (":authority", "sn.example"),
        ("content-type", "application/grpc"),
        ("user-agent", "grpc-go/1.36.0"),
        ("te", "trailers"),
    ]
    assert server.payload == bytes.fromhex(MIHOMO_PREFIX) + b"x" * 62


def test_a_path_of_its_own_and_an_agent() -> None:
    """A service name that begins with a slash is the path, in mihomo as in Xray."""
    found, server = layer(GrpcSpec("/x/y", "ua/1"), tls=False), H2Server()
    server.receive(sealed(found, b""))
    headers = dict(server.headers)
    assert (headers[":path"], headers["user-agent"]) == ("/x/y", "ua/1")
    assert (headers[":scheme"], headers[":authority"]) == ("http", "sn.example:8443")


def test_an_ipv6_server_has_brackets() -> None:
    server = H2Server()
    server.receive(grpc_opening(GrpcSpec(), "2001:db8::1", 443, False)[0])
    assert dict(server.headers)[":authority"] == "[2001:db8::1]:443"


@pytest.mark.parametrize("size", [1, 127, 128, 16383, 16384, 65536])
def test_messages_of_any_size(size: int) -> None:
    found, server = layer(), H2Server(1 << 20)
    answer = server.receive(sealed(found, b""))
    found.feed(answer + server.answer() + h2.encode_window_update(0, 1 << 20))
    server.receive(taken(found))
    payload = bytes(range(256)) * 256
    server.connection.increment_flow_control_window(1 << 20)
    server.receive(sealed(found, payload[:size]))
    assert parsed(server.payload) == [payload[:size]]
    wire = server.send(message_prefix(size) + payload[:size])
    assert fed(found, [wire])[0] == payload[:size]


def test_an_end_each_way() -> None:
    found, server = layer(), H2Server()
    server.receive(sealed(found, b"x"))
    server.receive(bytes(found.finish()))
    assert server.ended
    assert found.feed(OK + data(bytes.fromhex("00000000030a0179"))) == b"y"
    assert found.feed(trailers(("grpc-status", "0"))) == b""
    assert found.ended
    found.feed_eof()


def test_empty_and_multiple_messages() -> None:
    body = bytes.fromhex("000000000000000000020a0000000000070a0261620a016300000000030a0164")
    for chunks in ([OK + data(body)], trickled(OK + data(body)), [OK, *map(data, trickled(body))]):
        assert fed(asked(), chunks)[0] == b"abcd"


@pytest.mark.parametrize(
    ("wire", "cause"),
    [
        (data(bytes.fromhex("01")), "grpc-message"),
        (data(bytes.fromhex("000000000208")), "grpc-message"),
        (data(bytes.fromhex("00000000010a00")), "grpc-message"),
        (data(bytes.fromhex("00000000030a0261")), "grpc-message"),
        (data(bytes.fromhex("00000000090affffffffffff")), "grpc-message"),
        (data(bytes.fromhex("00000000030a"), h2.END_STREAM), "grpc-message"),
        (data(bytes.fromhex("00000000030a01610000"), h2.END_STREAM), "grpc-message"),
        (trailers(("grpc-status", "12"), ("grpc-message", "unknown service")), "grpc-status"),
        (
            h2.data_head(0, h2.END_STREAM) + h2.encode_frame(h2.RST_STREAM, 0, 3, bytes(4)),
            "h2-protocol",
        ),
    ],
)
def test_servers_that_err(wire: bytes, cause: str) -> None:
    for chunks in ([OK + wire], trickled(OK + wire)):
        with pytest.raises(RemoteProtocolError) as caught:
            fed(asked(), chunks)
        assert caught.value.cause == cause


def test_a_response_of_trailers_only() -> None:
    wire = h2.encode_settings([]) + trailers((":status", "200"), ("grpc-status", "7"))
    with pytest.raises(RemoteProtocolError, match="gRPC status 7"):
        asked().feed(wire)


def test_truncated_at_every_offset() -> None:
    wire = OK + data(bytes.fromhex("00000000050a03616263")) + trailers(("grpc-status", "0"))
    for end in range(len(wire)):
        found = asked()
        assert b"abc".startswith(bytes(found.feed(wire[:end])))
        with pytest.raises(RemoteProtocolError) as caught:
            found.feed_eof()
        assert caught.value.cause == ("h2-truncated" if end >= len(OK) else "h2-no-response")


BODIES = st.binary(max_size=40) | st.lists(st.binary(max_size=200)).map(
    lambda payloads: b"".join(message_prefix(len(item)) + item for item in payloads)
)


@given(BODIES, st.lists(st.integers(1, 60), max_size=30))
def test_only_protocol_errors_escape_in_any_pieces(body: bytes, sizes: list[int]) -> None:
    whole = outcome(lambda: fed(asked(), [OK + data(body)]))
    assert outcome(lambda: fed(asked(), cut(OK + data(body), sizes))) == whole
    frames = [OK, *map(data, cut(body, sizes))]
    assert outcome(lambda: fed(asked(), frames)) == whole


@given(st.lists(st.binary(min_size=1, max_size=300)), st.lists(st.integers(1, 600), max_size=20))
def test_round_trip(payloads: list[bytes], sizes: list[int]) -> None:
    found, server = layer(), H2Server()
    for payload in payloads:
        server.receive(sealed(found, payload))
        server.acknowledge(server.unacknowledged) if server.unacknowledged else None
    assert parsed(server.payload) == payloads
    wire = b"".join(data(message_prefix(len(item)) + item) for item in payloads)
    assert fed(found, cut(OK + wire, sizes))[0] == b"".join(payloads)
