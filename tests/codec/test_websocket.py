"""Frames: the examples of RFC 6455, what breaks it, and pieces of any size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.feeding import cut, outcome, trickled

from mihomo_tproxy.codec.masking import apply_mask
from mihomo_tproxy.codec.websocket import (
    BINARY,
    CLOSE,
    PING,
    FrameReader,
    accept_key,
    encode_frame,
)
from mihomo_tproxy.errors import RemoteProtocolError

MASK = bytes.fromhex("37fa213d")


def server_frame(payload: bytes, first: int = 0x82) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65536:
        return bytes((first, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload


def test_accept_key_of_rfc_6455() -> None:
    """RFC 6455, 1.3."""
    assert accept_key(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_frames_of_rfc_6455() -> None:
    """RFC 6455, 5.7: unmasked, fragmented, ping, 256 bytes, 64 KiB."""
    assert FrameReader().feed(bytes.fromhex("810548656c6c6f")) == b"Hello"
    assert FrameReader().feed(bytes.fromhex("010348656c80026c6f")) == b"Hello"
    reader = FrameReader()
    assert reader.feed(bytes.fromhex("890548656c6c6f")) == b""
    assert reader.ping == b"Hello"
    assert FrameReader().feed(bytes.fromhex("827e0100") + bytes(256)) == bytes(256)
    long = FrameReader().feed(bytes.fromhex("827f0000000000010000") + bytes(65536))
    assert long == bytes(65536)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 70000])
def test_our_frames(size: int) -> None:
    payload = bytes(range(256)) * 300
    frame = encode_frame(BINARY, memoryview(payload)[:size], MASK)
    head = {0: "8280", 1: "8281", 125: "82fd", 126: "82fe007e", 65535: "82feffff"}.get(size)
    head = head or "82ff" + size.to_bytes(8, "big").hex()
    assert frame[: len(head) // 2].hex() == head
    assert frame[len(head) // 2 :][:4] == MASK
    assert apply_mask(frame[len(head) // 2 + 4 :], MASK) == payload[:size]


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param("c200", id="a reserved bit"),
        pytest.param("8280", id="masked"),
        pytest.param("8000", id="continues nothing"),
        pytest.param("02008200", id="a message within a message"),
        pytest.param("8300", id="opcode 3"),
        pytest.param("8b00", id="opcode 11"),
        pytest.param("0900", id="a fragmented ping"),
        pytest.param("897e", id="a long ping"),
        pytest.param("827f8000000000000000", id="a length above 2^63"),
    ],
)
def test_broken(wire: str) -> None:
    for chunks in ([bytes.fromhex(wire)], trickled(bytes.fromhex(wire))):
        reader = FrameReader()
        with pytest.raises(RemoteProtocolError) as caught:
            list(map(reader.feed, chunks))
        assert caught.value.cause == "websocket-frame"


@pytest.mark.parametrize("status", [b"", b"\x03\xe8", b"\x03\xe9bye"])
def test_closed(status: bytes) -> None:
    reader = FrameReader()
    assert reader.feed(server_frame(b"x") + server_frame(status, 0x80 | CLOSE) + b"garbage") == b"x"
    assert reader.closed
    assert reader.between_frames
    assert reader.feed(b"more") == b""


@pytest.mark.parametrize("status", [b"\x03", b"\x03\xea", b"\x03\xf3failure"])
def test_closed_for_a_failure(status: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        FrameReader().feed(server_frame(status, 0x80 | CLOSE))
    assert caught.value.cause == "websocket-closed"


def test_the_latest_ping_is_kept() -> None:
    reader = FrameReader()
    assert reader.feed(server_frame(b"1", 0x80 | PING) + server_frame(b"2", 0x80 | PING)) == b""
    assert reader.ping == b"2"


def test_control_frames_between_fragments() -> None:
    wire = server_frame(b"ab", 0x02) + server_frame(b"p", 0x80 | PING) + server_frame(b"cd", 0x80)
    for chunks in ([wire], trickled(wire)):
        reader = FrameReader()
        assert b"".join(bytes(reader.feed(chunk)) for chunk in chunks) == b"abcd"
        assert reader.ping == b"p"


def test_truncated_at_every_offset() -> None:
    frames = (server_frame(b"ab", 0x02), server_frame(bytes(300), 0x80), server_frame(b""))
    wire = b"".join(frames)
    whole = {0, len(wire), len(wire) - len(frames[2])}
    for end in range(len(wire) + 1):
        reader = FrameReader()
        reader.feed(wire[:end])
        assert reader.between_frames == (end in whole)


@given(
    st.lists(st.binary(max_size=300) | st.just(bytes(70000)), max_size=5),
    st.lists(st.integers(1, 400), max_size=20),
)
def test_pieces_make_no_difference(payloads: list[bytes], sizes: list[int]) -> None:
    wire = b"".join(map(server_frame, payloads))
    reader = FrameReader()
    got = b"".join(bytes(reader.feed(memoryview(chunk))) for chunk in cut(wire, sizes))
    assert got == b"".join(payloads)
    assert reader.between_frames


@given(st.binary(max_size=200), st.lists(st.integers(1, 9), max_size=40))
def test_arbitrary_bytes(wire: bytes, sizes: list[int]) -> None:
    def read(chunks: object) -> object:
        reader = FrameReader()
        payload = b"".join([bytes(reader.feed(chunk)) for chunk in chunks])
        return payload, reader.ping, reader.closed, reader.between_frames

    assert outcome(lambda: read([wire])) == outcome(lambda: read(cut(wire, sizes)))
