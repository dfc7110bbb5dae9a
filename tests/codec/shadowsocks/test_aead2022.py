"""Streams of SIP022: a real server's, and round trips with our own counterpart."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.shadowsocks import (
    CASES,
    KEYS,
    NEW_NAMES,
    NOW,
    Request,
    Response,
    case_id,
    pieces,
    profile,
)

from mihomo_tproxy.codec.shadowsocks.aead2022 import (
    MAX_CLOCK_SKEW_S,
    MAX_PADDING,
    Aead2022Stream,
    make_padding,
)
from mihomo_tproxy.errors import (
    AuthenticationFailed,
    LocalProtocolError,
    ProtocolError,
    RemoteProtocolError,
    ReplayDetected,
)

NAME = "2022-blake3-aes-128-gcm"
CAPTURED = [case for case in CASES if case["method"] in NEW_NAMES]


def stream(name: str = NAME, password: str | None = None) -> Aead2022Stream:
    return Aead2022Stream(profile(name, password), "example.com", 443)


def asked(name: str = NAME) -> tuple[Aead2022Stream, Response]:
    """A stream that has sent its request, and who answers it."""
    layer = stream(name)
    layer.seal(b"hello")
    return layer, Response(profile(name), layer._salt)


@pytest.mark.parametrize("case", CAPTURED, ids=case_id)
def test_as_a_real_server_takes_and_answers_it(case) -> None:
    shared = profile(case["method"], case["password"], now=case["now"], seed=case["seed"])
    layer = Aead2022Stream(shared, "127.0.0.1", case["tcp_port"])
    big = bytes(range(256)) * 8
    assert layer.seal(b"hello").hex() == case["request"]
    assert sha256(layer.seal(big)).hexdigest() == case["more"]
    answer = bytes.fromhex(case["response"])
    assert b"".join(layer.feed(bytes((byte,))) for byte in answer) == b"hello" + big
    layer.feed_eof()


@pytest.mark.parametrize("name", NEW_NAMES)
@pytest.mark.parametrize("size", [0, 1, MAX_PADDING, 16000, 65536])
def test_the_request_leaves_with_the_first_payload(name: str, size: int) -> None:
    layer = stream(name)
    payload = (bytes(range(256)) * 256)[:size]
    wire = layer.seal(memoryview(payload)) + layer.seal(b"more")
    request = Request(profile(name), bytes(wire))
    assert request.destination == ("example.com", 443)
    assert request.payload == payload + b"more"
    assert request.time == NOW
    assert bool(request.padding) == (size < MAX_PADDING)
    assert layer.seal(b"") == b""
    assert layer.finish() == b""


def test_the_request_does_not_wait_for_payload() -> None:
    request = Request(profile(NAME), bytes(stream().finish()))
    assert request.destination == ("example.com", 443)
    assert request.padding


@given(st.integers(0, 2 * MAX_PADDING), st.integers(0, 1000))
def test_padding(size: int, seed: int) -> None:
    padding = make_padding(profile(NAME, seed=seed), size)
    assert int.from_bytes(padding[:2], "big") == len(padding) - 2
    if size < MAX_PADDING:
        assert 0 < len(padding) - 2 <= MAX_PADDING - size
    else:
        assert padding == b"\0\0"


@given(st.sampled_from(NEW_NAMES), st.lists(st.integers(0, 500)))
def test_the_response_in_any_pieces(name: str, cuts: list[int]) -> None:
    layer, answer = asked(name)
    wire = answer.seal(b"one") + answer.seal(b"two" * 50)
    assert b"".join(layer.feed(piece) for piece in pieces(wire, cuts)) == b"one" + b"two" * 50
    layer.feed_eof()


def test_a_response_that_begins_without_payload() -> None:
    layer, answer = asked()
    assert layer.feed(answer.seal(b"") + answer.seal(b"one")) == b"one"


def test_every_truncation() -> None:
    _, answer = asked()
    wire = answer.seal(b"one")
    for size in range(len(wire)):
        layer, _ = asked()
        layer.feed(wire[:size])
        with pytest.raises(RemoteProtocolError) as caught:
            layer.feed_eof()
        assert caught.value.cause == ("ss-cut-short" if size else "ss-no-answer")


def test_an_upload_without_an_answer() -> None:
    layer, _ = asked()
    layer.finish()
    layer.feed_eof()


@pytest.mark.parametrize(
    ("kind", "time", "cause"),
    [
        (0, NOW, "ss-bad-header"),
        (2, NOW, "ss-bad-header"),
        (1, NOW - MAX_CLOCK_SKEW_S - 1, "ss-timestamp"),
        (1, NOW + MAX_CLOCK_SKEW_S + 1, "ss-timestamp"),
        (1, 2**64 - 1, "ss-timestamp"),
    ],
)
def test_a_response_that_is_none_or_not_of_now(kind: int, time: int, cause: str) -> None:
    layer, answer = asked()
    with pytest.raises(RemoteProtocolError) as caught:
        layer.feed(answer.seal(b"one", kind=kind, time=time))
    assert caught.value.cause == cause


@pytest.mark.parametrize("skew", [-MAX_CLOCK_SKEW_S, MAX_CLOCK_SKEW_S])
def test_a_clock_that_is_somewhat_wrong(skew: int) -> None:
    layer, answer = asked()
    assert layer.feed(answer.seal(b"one", time=NOW + skew)) == b"one"


def test_the_response_to_another_request() -> None:
    layer, _ = asked()
    with pytest.raises(ReplayDetected) as caught:
        layer.feed(Response(profile(NAME), bytes(16)).seal(b"one"))
    assert caught.value.cause == "ss-replay"


def test_a_response_before_the_request() -> None:
    with pytest.raises(ReplayDetected):
        stream().feed(Response(profile(NAME), bytes(16)).seal(b"one"))


def test_our_own_words() -> None:
    layer = stream()
    with pytest.raises(AuthenticationFailed):
        layer.feed(layer.seal(bytes(100)))


def test_a_wrong_password() -> None:
    layer = stream(password=KEYS[16].replace("A", "B", 1))
    layer.seal(b"hello")
    with pytest.raises(AuthenticationFailed) as caught:
        layer.feed(Response(profile(NAME), layer._salt).seal(b"one"))
    assert caught.value.cause == "ss-auth-failed"


def test_a_host_that_cannot_be_written() -> None:
    with pytest.raises(LocalProtocolError):
        Aead2022Stream(profile(NAME), "x" * 256, 1)


@settings(max_examples=50)
@given(st.binary(max_size=300), st.lists(st.integers(0, 300)))
def test_arbitrary_bytes(data: bytes, cuts: list[int]) -> None:
    layer, _ = asked()
    got = b""
    try:
        for piece in pieces(data, cuts):
            got += layer.feed(piece)
        layer.feed_eof()
    except ProtocolError:
        pass
    assert got == b""
