"""SOCKS5, the client's side: against RFC 1928, what servers said, and the server's side of ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mihomo_tproxy.codec.socks5 import (
    UDP_ASSOCIATE,
    Socks5Server,
    SocksRequest,
    encode_credentials,
    encode_reply,
    encode_request,
)
from mihomo_tproxy.codec.socks5_client import Socks5Associate, Socks5Connect
from mihomo_tproxy.errors import (
    AuthenticationFailed,
    DestinationRefused,
    LocalProtocolError,
    ProtocolError,
    RemoteProtocolError,
)

VECTORS = Path(__file__).parents[1] / "vectors/socks5_servers.json"
CREDENTIALS = encode_credentials("user", "pass")
ANSWERS = b"\x05\x00" + encode_reply(0, "192.0.2.1", 1080)


def begun(credentials: bytes = b"") -> Socks5Connect:
    layer = Socks5Connect("example.com", 443, credentials)
    layer.begin()
    return layer


def said(layer: Socks5Connect) -> bytes:
    output, layer.output = layer.output, b""
    return output


def trickle(layer: Socks5Connect, data: bytes) -> bytes:
    return b"".join(bytes(layer.feed(bytes((byte,)))) for byte in data)


def test_step_by_step() -> None:
    layer = begun()
    assert said(layer) == b"\x05\x01\x00"
    assert layer.feed(b"\x05\x00") == b""
    assert said(layer) == encode_request(1, "example.com", 443)
    assert not layer.ready
    assert layer.feed(encode_reply(0, "192.0.2.1", 1080) + b"hello") == b"hello"
    assert layer.ready
    assert layer.transparent
    assert layer.bound == ("192.0.2.1", 1080)
    assert layer.feed(b"more") == b"more"
    assert layer.seal(b"up") == b"up"
    layer.feed_eof()


def test_step_by_step_with_credentials() -> None:
    layer = begun(CREDENTIALS)
    assert said(layer) == b"\x05\x01\x02"
    assert layer.feed(b"\x05\x02") == b""
    assert said(layer) == b"\x01\x04user\x04pass"
    assert layer.feed(b"\x01\x00") == b""
    assert said(layer) == encode_request(1, "example.com", 443)
    assert layer.feed(encode_reply(0)) == b""
    assert layer.ready


@pytest.mark.parametrize("status", [b"\x01\x00", b"\x05\x00"])
@pytest.mark.parametrize("host", ["192.0.2.1", "::1", "a.example"])
def test_byte_by_byte_and_truncated(status: bytes, host: str) -> None:
    data = b"\x05\x02" + status + encode_reply(0, host, 1)
    assert trickle(begun(CREDENTIALS), data + b"hello") == b"hello"
    for cut in range(len(data)):
        layer = begun(CREDENTIALS)
        assert layer.feed(data[:cut]) == b""
        assert not layer.ready
        with pytest.raises(RemoteProtocolError) as caught:
            layer.feed_eof()
        assert caught.value.cause == "socks5-truncated"
        assert layer.feed(data[cut:] + b"x") == b"x"
        assert layer.bound == (host, 1)


@pytest.mark.parametrize(
    "case", json.loads(VECTORS.read_text())["cases"], ids=lambda case: case["server"]
)
def test_what_servers_said(case: dict) -> None:
    credentials = CREDENTIALS if case["answers"][0] == "0502" else b""
    answers = [bytes.fromhex(text) for text in case["answers"]]
    layer = Socks5Connect("127.0.0.1", 1, credentials)
    if case["command"] == "udp":
        layer = Socks5Associate(credentials)
    layer.begin()
    for answer in answers[:-1]:
        assert said(layer)
        assert layer.feed(answer) == b""
    assert said(layer)
    if "cause" in case:
        with pytest.raises(RemoteProtocolError) as caught:
            layer.feed(answers[-1])
        assert caught.value.cause == case["cause"]
    else:
        assert layer.feed(answers[-1]) == b""
        assert layer.ready
        assert layer.bound == tuple(case["bound"])


@pytest.mark.parametrize("credentials", [b"", CREDENTIALS])
def test_with_our_server(credentials: bytes) -> None:
    layer = begun(credentials)
    server = Socks5Server((lambda user, secret: secret == b"pass") if credentials else None)
    request = None
    while request is None:
        request = server.receive_data(said(layer))
        assert layer.feed(server.output) == b""
        server.output = b""
    assert request[:3] == (1, "example.com", 443)
    assert layer.feed(encode_reply(0) + b"hello") == b"hello"


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (1, "socks5-failed"),
        (2, "socks5-not-allowed"),
        (3, "socks5-unreachable"),
        (4, "socks5-unreachable"),
        (5, "socks5-refused"),
        (6, "socks5-timeout"),
        (7, "socks5-unsupported"),
        (8, "socks5-unsupported"),
        (9, "socks5-failed"),
        (255, "socks5-failed"),
    ],
)
def test_refusals(code: int, cause: str) -> None:
    layer = begun()
    layer.feed(b"\x05\x00")
    with pytest.raises(DestinationRefused) as caught:
        layer.feed(bytes((5, code)))  # a reason is enough, the address may be missing
    assert caught.value.cause == cause


@pytest.mark.parametrize(
    ("credentials", "data", "cause"),
    [
        (b"", b"\x05\xff", "socks5-no-method"),
        (b"", b"\x05\x02", "socks5-no-method"),
        (CREDENTIALS, b"\x05\x00", "socks5-no-method"),
        (CREDENTIALS, b"\x05\x02\x01\x01", "socks5-auth-failed"),
        (CREDENTIALS, b"\x05\x02\x01\xff", "socks5-auth-failed"),
    ],
)
def test_authentication_fails(credentials: bytes, data: bytes, cause: str) -> None:
    for feed in (Socks5Connect.feed, trickle):
        with pytest.raises(AuthenticationFailed) as caught:
            feed(begun(credentials), data)
        assert caught.value.cause == cause


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"\x04", "socks5-bad-version"),
        (b"HTTP/1.1 400 Bad Request\r\n", "socks5-bad-version"),
        (b"\x05\x00\x00", "socks5-bad-version"),
        (b"\x05\x00\x05\x00\x00\x02", "bad-address"),
    ],
)
def test_what_is_not_socks5(data: bytes, cause: str) -> None:
    for feed in (Socks5Connect.feed, trickle):
        with pytest.raises(RemoteProtocolError) as caught:
            feed(begun(), data)
        assert caught.value.cause == cause


def test_hosts_that_cannot_be_written() -> None:
    with pytest.raises(LocalProtocolError):
        Socks5Connect("é.example", 1)


def test_an_association() -> None:
    layer = Socks5Associate()
    layer.begin()
    assert layer.feed(b"\x05\x00") == b""
    assert layer.output == b"\x05\x01\x00" + encode_request(UDP_ASSOCIATE, "0.0.0.0", 0)
    assert layer.feed(encode_reply(0, "192.0.2.1", 5000) + b"noise") == b""
    assert layer.ready
    assert not layer.transparent
    assert layer.bound == ("192.0.2.1", 5000)
    assert layer.feed(b"noise") == b""


def test_an_association_with_our_server() -> None:
    layer, server = Socks5Associate(CREDENTIALS), Socks5Server(lambda *_: True)
    layer.begin()
    assert server.receive_data(said(layer)) is None
    layer.feed(server.output)
    assert server.receive_data(said(layer)) is None
    layer.feed(server.output[2:])
    assert server.receive_data(said(layer)) == SocksRequest(UDP_ASSOCIATE, "0.0.0.0", 0, b"user")


@given(st.lists(st.binary(max_size=20), max_size=5), st.sampled_from([b"", CREDENTIALS]))
def test_only_protocol_errors_escape_in_any_pieces(chunks: list[bytes], credentials: bytes) -> None:
    def outcome(parts: list[bytes]) -> object:
        layer = begun(credentials)
        try:
            payload = b"".join(bytes(layer.feed(part)) for part in parts)
        except ProtocolError as error:
            return error.cause
        return payload, layer.ready, layer.bound, layer.output

    data = ANSWERS[: 2 if not credentials else 0] + b"".join(chunks)
    assert outcome([data]) == outcome([bytes((byte,)) for byte in data])
