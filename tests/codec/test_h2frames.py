"""Frames and header blocks: what `hpack` reads back, what breaks RFC 9113, pieces of any size."""

from __future__ import annotations

import pytest
from hpack import Decoder
from hypothesis import given
from hypothesis import strategies as st
from support.feeding import cut, outcome, trickled

from mihomo_tproxy.codec import h2frames as h2
from mihomo_tproxy.errors import RemoteProtocolError

SETTINGS = h2.encode_settings([])


def read(chunks) -> list[tuple[int, int, int, bytes]]:
    reader = h2.FrameReader()
    return [
        (frame.kind, frame.flags, frame.stream, bytes(frame.payload))
        for chunk in chunks
        for frame in reader.feed(chunk)
    ]


def joined(frames: list[tuple[int, int, int, bytes]]) -> list[tuple[int, int, int, bytes]]:
    """With parts of DATA frames put together."""
    found: list[tuple[int, int, int, bytes]] = []
    for frame in frames:
        if found and frame[0] == found[-1][0] == h2.DATA and not found[-1][1]:
            frame = (h2.DATA, frame[1], 1, found.pop()[3] + frame[3])
        found.append(frame)
    return found


@pytest.mark.parametrize(
    ("headers", "block"),
    [
        ([(":method", "POST"), (":scheme", "https"), (":path", "/")], "838784"),
        ([(":path", "/sample/path")], "040c2f73616d706c652f70617468"),
        ([("password", "secret")], "000870617373776f726406736563726574"),
    ],
)
def test_header_blocks(headers: list[tuple[str, str]], block: str) -> None:
    """The last two: RFC 7541, C.2.2 and C.2.3 without indexing."""
    assert h2.encode_header_block(headers).hex() == block


@pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 254, 255, 5000, 40000])
def test_long_values_are_read_back(size: int) -> None:
    headers = [(":authority", "a" * size), ("x-long", "b" * size), (":method", "PUT")]
    decoder = Decoder(1 << 20)
    block = h2.encode_header_block(headers)
    assert decoder.decode(block) == headers
    assert decoder.header_table_size == 4096
    assert not list(decoder.header_table.dynamic_entries)


def test_frames() -> None:
    wire = (
        h2.encode_settings([(4, 1 << 20), (5, 16384)])
        + h2.encode_frame(h2.HEADERS, h2.END_HEADERS, 1, b"\x88")
        + h2.data_head(3)
        + b"abc"
        + h2.encode_frame(99, 0xFF, 7, bytes(300))
        + h2.encode_frame(h2.PRIORITY, 0, 1, bytes(5))
        + h2.encode_window_update(1, 70000)
        + h2.data_head(2, h2.END_STREAM)
        + b"de"
    )
    expected = [
        (h2.SETTINGS, 0, 0, bytes.fromhex("000400100000000500004000")),
        (h2.HEADERS, h2.END_HEADERS, 1, b"\x88"),
        (h2.DATA, 0, 1, b"abc"),
        (h2.WINDOW_UPDATE, 0, 1, (70000).to_bytes(4, "big")),
        (h2.DATA, h2.END_STREAM, 1, b"de"),
    ]
    assert read([wire]) == expected
    assert joined(read(trickled(wire))) == expected
    assert h2.parse_settings(expected[0][3]) == [(4, 1 << 20), (5, 16384)]


def test_padding_and_priority_are_taken_off() -> None:
    flags = h2.PADDED | h2.HAS_PRIORITY
    wire = (
        SETTINGS
        + h2.encode_frame(h2.HEADERS, flags, 1, b"\x02" + bytes(5) + b"\x88" + bytes(2))
        + h2.encode_frame(h2.CONTINUATION, h2.END_HEADERS, 1, b"\x84")
        + h2.encode_frame(h2.DATA, h2.PADDED, 1, b"\x03abc" + bytes(3))
        + h2.encode_frame(h2.DATA, h2.PADDED | h2.END_STREAM, 1, b"\x00")
    )
    expected = [
        (h2.SETTINGS, 0, 0, b""),
        (h2.HEADERS, flags, 1, b"\x88\x84"),
        (h2.DATA, 0, 1, b"abc"),
        (h2.DATA, h2.END_STREAM, 1, b""),
    ]
    assert read([wire]) == expected
    frames = joined(read(trickled(wire)))
    assert frames[:2] == expected[:2]
    assert frames[2] == (h2.DATA, h2.END_STREAM, 1, b"abc")


def test_windows_owe_padding_too() -> None:
    reader = h2.FrameReader()
    reader.feed(SETTINGS + h2.encode_frame(h2.DATA, h2.PADDED, 1, b"\x03abc" + bytes(3)))
    assert reader.received == 7


@pytest.mark.parametrize(
    ("wire", "cause"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "h2-not-http2"),
        (b"HTTP", "h2-not-http2"),
        (h2.encode_frame(h2.SETTINGS, h2.ACK, 0), "h2-not-http2"),
        (h2.encode_frame(h2.PING, 0, 0, bytes(8)), "h2-not-http2"),
        (SETTINGS + h2.encode_frame(h2.DATA, 0, 3, b"x"), "h2-protocol"),
        (SETTINGS + h2.encode_frame(h2.DATA, h2.PADDED, 1, b"\x01"), "h2-protocol"),
        (SETTINGS + h2.encode_frame(h2.HEADERS, 4, 3, b"\x88"), "h2-protocol"),
        (SETTINGS + h2.encode_frame(h2.HEADERS, h2.PADDED, 1), "h2-protocol"),
        (SETTINGS + h2.encode_frame(h2.HEADERS, h2.HAS_PRIORITY, 1, bytes(4)), "h2-protocol"),
        (SETTINGS + h2.encode_frame(h2.CONTINUATION, 4, 1, b"\x88"), "h2-protocol"),
        (SETTINGS + h2.encode_frame(h2.HEADERS, 0, 1) + SETTINGS, "h2-protocol"),
        (SETTINGS + h2.encode_frame(h2.HEADERS, 0, 1) * 2, "h2-protocol"),
        (SETTINGS + h2.encode_frame(h2.GOAWAY, 0, 0, bytes(16385)), "h2-too-large"),
        (
            SETTINGS
            + h2.encode_frame(h2.HEADERS, 0, 1, bytes(16384))
            + h2.encode_frame(h2.CONTINUATION, 0, 1, bytes(16384)) * 4,
            "h2-too-large",
        ),
    ],
)
def test_broken(wire: bytes, cause: str) -> None:
    for chunks in ([wire], cut(wire, [3] * 30)):
        with pytest.raises(RemoteProtocolError) as caught:
            read(chunks)
        assert caught.value.cause == cause


def test_settings_of_odd_length() -> None:
    with pytest.raises(RemoteProtocolError):
        h2.parse_settings(bytes(7))


@given(
    st.binary(max_size=120)
    | st.lists(
        st.tuples(st.integers(0, 10), st.integers(0, 63), st.integers(0, 2), st.binary(max_size=20))
    ).map(lambda frames: SETTINGS + b"".join(h2.encode_frame(*frame) for frame in frames)),
    st.lists(st.integers(1, 20), max_size=30),
)
def test_pieces_make_no_difference(wire: bytes, sizes: list[int]) -> None:
    def payload(chunks):
        frames = read(chunks)
        body = b"".join(frame[3] for frame in frames if frame[0] == h2.DATA)
        return body, [frame for frame in frames if frame[0] != h2.DATA]

    assert outcome(lambda: payload([wire])) == outcome(lambda: payload(cut(wire, sizes)))
