"""Chunks both ways, against the server's side written apart; masks against plain SHAKE-128."""

from __future__ import annotations

from hashlib import shake_128
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.vmess_peers import AES, BODIES, CHACHA, NONE, USER, fixed, profile
from support.vmess_server import Body, Request, open_request

from mihomo_tproxy.codec.vmess.body import (
    MAX_CHUNK_BYTES,
    MAX_CHUNK_PAYLOAD,
    MAX_FIRST_PAYLOAD,
    MAX_PACKET_PAYLOAD,
    ChunkOpener,
    ChunkSealer,
    Masks,
)
from mihomo_tproxy.codec.vmess.header import Command, Security
from mihomo_tproxy.codec.vmess.layer import VmessLayer
from mihomo_tproxy.errors import AuthenticationFailed, ProtocolError, RemoteProtocolError

PADDING = b"r" * 64
bodies = pytest.mark.parametrize("body", BODIES)
Kind = tuple[Security, bool, bool]


def request_of(body: Kind, command: Command = Command.UDP) -> Request:
    layer = VmessLayer(profile(body), "192.0.2.1", 443, command)
    return open_request(USER, bytes(layer.seal(b"")))


def sealer_of(request: Request) -> ChunkSealer:
    return ChunkSealer(
        Security(request.security), request.option, request.key, request.iv, fixed(PADDING)
    )


def opener_of(request: Request) -> ChunkOpener:
    return ChunkOpener(
        Security(request.security),
        request.option,
        (Body(request, is_response=True).key, Body(request, is_response=True).iv),
        (request.key, request.iv),
    )


def sent(body: Kind, payloads: list[bytes]) -> tuple[Request, list[bytes]]:
    """What a server sends: chunks of these payloads."""
    request = request_of(body)
    server = Body(request, is_response=True)
    return request, [server.seal(payload) for payload in payloads]


def test_masks_are_shake_128() -> None:
    masks = Masks(b"iv")
    expected = shake_128(b"iv").digest(2 * 2000)
    assert b"".join(masks.next().to_bytes(2, "big") for _ in range(2000)) == expected


@bodies
def test_a_stream_in_chunks(body: Kind) -> None:
    request = request_of(body)
    sealer, server = sealer_of(request), Body(request)
    for size in (1, MAX_FIRST_PAYLOAD, MAX_CHUNK_PAYLOAD, MAX_CHUNK_PAYLOAD + 1, 65536):
        payload = shake_128(b"%d" % size).digest(size)
        chunks = server.open(bytes(sealer.seal(payload)))
        assert b"".join(chunks) == payload
        assert len(chunks) == -(-size // MAX_CHUNK_PAYLOAD)
    assert sealer.seal(b"") == b""
    assert server.open(bytes(sealer.seal_chunk(b""))) == [b""]


@bodies
def test_the_first_chunk_is_small(body: Kind) -> None:
    request = request_of(body)
    wire = bytes(sealer_of(request).seal(bytes(65536), b"header"))
    assert wire[:6] == b"header"
    sizes = [len(chunk) for chunk in Body(request).open(wire[6:])]
    assert sizes == [MAX_FIRST_PAYLOAD, *[MAX_CHUNK_PAYLOAD] * 3, 65536 - 4096 - 3 * 16384]


@bodies
@pytest.mark.parametrize("size", [1, 1400, 16385, MAX_PACKET_PAYLOAD])
def test_a_datagram_is_one_chunk(body: Kind, size: int) -> None:
    request = request_of(body)
    wire = sealer_of(request).seal_chunk(bytes(size), b"header")
    assert Body(request).open(bytes(wire[6:])) == [bytes(size)]


def test_padding_is_random() -> None:
    request = request_of((AES, True, False))
    paddings = set()
    sealer = sealer_of(request)
    for number in range(20):
        mask = int.from_bytes(shake_128(request.iv).digest(4 * number + 4)[-4:-2], "big")
        wire = bytes(sealer.seal(b"x"))
        paddings.add(mask % 64)
        assert len(wire) == 2 + 1 + 16 + mask % 64
        assert wire.endswith(b"r" * (mask % 64))
    assert len(paddings) > 10


@bodies
def test_chunks_byte_by_byte(body: Kind) -> None:
    request, chunks = sent(body, [b"one", b"x" * 500, b"three"])
    opener = opener_of(request)
    got = b"".join(bytes(opener.open(bytes((byte,)))) for byte in b"".join(chunks))
    assert got == b"one" + b"x" * 500 + b"three"
    assert opener.between_chunks
    assert not opener.ended


@bodies
def test_chunks_cut_anywhere(body: Kind) -> None:
    request, chunks = sent(body, [b"one", b"two", b"three"])
    wire = b"".join(chunks)
    whole = {0, len(chunks[0]), len(chunks[0] + chunks[1]), len(wire)}
    for cut in range(len(wire) + 1):
        opener = opener_of(request)
        ends: list[int] = []
        got = bytes(opener.open(wire[:cut], ends))
        assert b"onetwothree".startswith(got)
        assert opener.between_chunks == (cut in whole)
        assert got + bytes(opener.open(wire[cut:])) == b"onetwothree"
        assert ends == [3, 6, 11][: len(ends)]


@bodies
def test_the_empty_chunk_ends(body: Kind) -> None:
    request, chunks = sent(body, [b"one", b"", b"two"])
    opener = opener_of(request)
    ends: list[int] = []
    assert opener.open(b"".join(chunks), ends) == b"one"
    assert opener.ended
    assert opener.between_chunks
    assert ends == [3]
    assert opener.open(b"whatever") == b""


@pytest.mark.parametrize("body", [body for body in BODIES if body[0] is not NONE])
def test_a_changed_chunk(body: Kind) -> None:
    """Never payload that was not sent; padding and, without a seal, lengths may differ."""
    request, chunks = sent(body, [b"payload"])
    (wire,) = chunks
    causes = []
    for at in range(len(wire)):
        changed = bytearray(wire)
        changed[at] ^= 0x80
        opener = opener_of(request)
        try:
            assert bytes(opener.open(changed)) in (b"", b"payload")
        except (AuthenticationFailed, RemoteProtocolError) as error:
            causes.append(error.cause)
    assert set(causes) == {"vmess-bad-chunk"}
    assert len(causes) >= len(b"payload") + 16


def test_authenticated_lengths_are_authenticated() -> None:
    request, chunks = sent((CHACHA, False, True), [b"payload"])
    for at in range(18):
        changed = bytearray(chunks[0])
        changed[at] ^= 1
        with pytest.raises(AuthenticationFailed):
            opener_of(request).open(changed)


def test_a_chunk_shorter_than_its_tag() -> None:
    request = request_of((AES, False, False))
    mask = int.from_bytes(shake_128(Body(request, is_response=True).iv).digest(2), "big")
    with pytest.raises(RemoteProtocolError) as caught:
        opener_of(request).open((15 ^ mask).to_bytes(2, "big"))
    assert caught.value.cause == "vmess-bad-chunk"


@bodies
def test_the_counter_starts_over(body: Kind) -> None:
    request = request_of(body)
    sealer, client, server = sealer_of(request), opener_of(request), Body(request)
    answers = Body(request, is_response=True)
    sealer._count = client._count = server.count = answers.count = 0xFFFF
    assert server.open(bytes(sealer.seal(b"last")) + bytes(sealer.seal(b"first"))) == [
        b"last",
        b"first",
    ]
    assert client.open(answers.seal(b"last") + answers.seal(b"first")) == b"lastfirst"


@bodies
@given(data=st.binary(max_size=3000), cuts=st.lists(st.integers(0, 3000), max_size=5))
def test_arbitrary_bytes(body: Kind, data: bytes, cuts: list[int]) -> None:
    opener = opener_of(request_of(body))
    places = [0, *sorted(cuts), len(data)]
    try:
        for start, end in pairwise(places):
            opener.open(data[start:end])
            assert len(opener._held) <= MAX_CHUNK_BYTES
    except ProtocolError:
        pass


@given(
    st.sampled_from(BODIES),
    st.lists(st.binary(min_size=1, max_size=300), max_size=6),
    st.lists(st.integers(0, 2500), max_size=8),
)
def test_arbitrary_cuts(body: Kind, payloads: list[bytes], cuts: list[int]) -> None:
    request, chunks = sent(body, payloads)
    wire = b"".join(chunks)
    opener = opener_of(request)
    places = [0, *sorted(cuts), len(wire)]
    got: list[bytes] = []
    for start, end in pairwise(places):
        ends: list[int] = []
        payload = bytes(opener.open(wire[start:end], ends))
        got += [payload[a:b] for a, b in zip([0, *ends], ends, strict=False)]
    assert got == payloads
    assert opener.between_chunks
