"""Streams of SIP004: a real server's, and round trips with our own counterpart."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.shadowsocks import CASES, OLD_NAMES, Request, Response, case_id, pieces, profile

from mihomo_tproxy.codec.shadowsocks.aead import AeadStream
from mihomo_tproxy.codec.shadowsocks.records import MAX_PAYLOAD
from mihomo_tproxy.errors import (
    AuthenticationFailed,
    LocalProtocolError,
    ProtocolError,
    RemoteProtocolError,
    ReplayDetected,
)

NAME = "aes-128-gcm"
CAPTURED = [case for case in CASES if case["method"] in OLD_NAMES]


def stream(name: str = NAME, password: str | None = None) -> AeadStream:
    return AeadStream(profile(name, password), "example.com", 443)


@pytest.mark.parametrize("case", CAPTURED, ids=case_id)
def test_as_a_real_server_takes_and_answers_it(case) -> None:
    shared = profile(case["method"], case["password"], now=case["now"], seed=case["seed"])
    layer = AeadStream(shared, "127.0.0.1", case["tcp_port"])
    big = bytes(range(256)) * 8
    assert layer.seal(b"hello").hex() == case["request"]
    assert sha256(layer.seal(big)).hexdigest() == case["more"]
    answer = bytes.fromhex(case["response"])
    assert b"".join(layer.feed(bytes((byte,))) for byte in answer) == b"hello" + big
    layer.feed_eof()


@pytest.mark.parametrize("name", OLD_NAMES)
@pytest.mark.parametrize("size", [0, 1, 16000, 65536])
def test_the_request_leaves_with_the_first_payload(name: str, size: int) -> None:
    layer = stream(name)
    payload = (bytes(range(256)) * 256)[:size]
    wire = layer.seal(memoryview(payload)) + layer.seal(b"more")
    request = Request(profile(name), bytes(wire))
    assert request.destination == ("example.com", 443)
    assert request.payload == payload + b"more"
    assert max(request.sizes) <= MAX_PAYLOAD
    assert layer.seal(b"") == b""
    assert layer.finish() == b""


def test_the_request_does_not_wait_for_payload() -> None:
    layer = stream()
    wire = layer.finish()
    assert Request(profile(NAME), bytes(wire)).destination == ("example.com", 443)


@given(st.lists(st.integers(0, 500)))
def test_the_response_in_any_pieces(cuts: list[int]) -> None:
    layer = stream()
    layer.seal(b"hello")
    answer = Response(profile(NAME), b"")
    wire = answer.seal(b"one") + answer.seal(b"two" * 50)
    assert b"".join(layer.feed(piece) for piece in pieces(wire, cuts)) == b"one" + b"two" * 50
    layer.feed_eof()


def test_every_truncation() -> None:
    answer = Response(profile(NAME), b"")
    wire = answer.seal(b"one")
    # A salt alone is a response without payload.
    whole = (len(answer.salt), len(wire))
    for size in range(len(wire) + 1):
        layer = stream()
        layer.seal(b"hello")
        layer.feed(wire[:size])
        if size in whole:
            layer.feed_eof()
            continue
        with pytest.raises(RemoteProtocolError) as caught:
            layer.feed_eof()
        assert caught.value.cause == ("ss-cut-short" if size else "ss-no-answer")


def test_an_upload_without_an_answer() -> None:
    layer = stream()
    layer.seal(b"hello")
    layer.finish()
    layer.feed_eof()


def test_a_wrong_password() -> None:
    layer = stream(password="another")  # noqa: S106
    layer.seal(b"hello")
    with pytest.raises(AuthenticationFailed) as caught:
        layer.feed(Response(profile(NAME), b"").seal(b"one"))
    assert caught.value.cause == "ss-auth-failed"


def test_our_own_words() -> None:
    layer = stream()
    wire = layer.seal(b"hello")
    with pytest.raises(ReplayDetected) as caught:
        layer.feed(wire)
    assert caught.value.cause == "ss-replay"


def test_a_host_that_cannot_be_written() -> None:
    with pytest.raises(LocalProtocolError):
        AeadStream(profile(NAME), "x" * 256, 1)


@settings(max_examples=50)
@given(st.binary(max_size=300), st.lists(st.integers(0, 300)))
def test_arbitrary_bytes(data: bytes, cuts: list[int]) -> None:
    layer = stream()
    layer.seal(b"hello")
    got = b""
    try:
        for piece in pieces(data, cuts):
            got += layer.feed(piece)
        layer.feed_eof()
    except ProtocolError:
        pass
    assert got == b""
