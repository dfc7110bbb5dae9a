"""HTTP/2 frames, as the client of one request needs them (RFC 9113, 4 and 6).

    | length 24 | type 8 | flags 8 | R 1 stream 31 | payload |

DATA is handed on as it comes and never held. Any other frame is held until it is complete, at most
`MAX_WHOLE_BYTES` of it, and a header block, CONTINUATION frames included, at most
`MAX_BLOCK_BYTES`; frames of unknown type are skipped. Header blocks are written as literals that
enter no dynamic table (RFC 7541, 6.2.2), so that they are constants.
Causes: `h2-not-http2`, `h2-protocol`, `h2-too-large`.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from mihomo_tproxy.errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mihomo_tproxy.codec.layer import Buffer

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_BYTES: Final = 9
MAX_BLOCK_BYTES: Final = 65536
MAX_WHOLE_BYTES: Final = 16384
DEFAULT_MAX_FRAME: Final = 16384
LARGEST_MAX_FRAME: Final = (1 << 24) - 1
DEFAULT_WINDOW: Final = 65535
LARGEST_WINDOW: Final = (1 << 31) - 1

DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

ACK: Final = 0x01
END_STREAM: Final = 0x01
END_HEADERS: Final = 0x04
PADDED: Final = 0x08
HAS_PRIORITY: Final = 0x20

SETTINGS_HEADER_TABLE_SIZE: Final = 1
SETTINGS_ENABLE_PUSH: Final = 2
SETTINGS_INITIAL_WINDOW_SIZE: Final = 4
SETTINGS_MAX_FRAME_SIZE: Final = 5
SETTINGS_MAX_HEADER_LIST_SIZE: Final = 6

_HEAD: Final = Struct(">IBI")
_SETTING: Final = Struct(">HI")
_PRIORITY_BYTES: Final = 5
_SKIPPED: Final = -1
_STATIC_PAIRS: Final = {
    (":method", "GET"): 2,
    (":method", "POST"): 3,
    (":path", "/"): 4,
    (":scheme", "http"): 6,
    (":scheme", "https"): 7,
}
_STATIC_NAMES: Final = {":authority": 1, ":method": 2, ":path": 4, ":scheme": 6}


class Frame(NamedTuple):
    """A frame without its head, or a part of a DATA frame."""

    kind: int
    flags: int
    """Of a DATA frame in parts, END_STREAM is on the last only."""
    stream: int
    payload: Buffer
    """Without padding and priority; of HEADERS the whole block."""


def encode_frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return _HEAD.pack(len(payload) << 8 | kind, flags, stream) + payload


def data_head(size: int, flags: int = 0) -> bytes:
    """The head of a DATA frame on stream 1."""
    return _HEAD.pack(size << 8, flags, 1)


def encode_settings(settings: Iterable[tuple[int, int]]) -> bytes:
    """A SETTINGS frame."""
    return encode_frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*item) for item in settings))


def encode_window_update(stream: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame."""
    return encode_frame(WINDOW_UPDATE, 0, stream, increment.to_bytes(4, "big"))


def parse_settings(payload: Buffer) -> list[tuple[int, int]]:
    """The settings in a SETTINGS frame.

    Raises:
        RemoteProtocolError: not a whole number of them.
    """
    if len(payload) % _SETTING.size:
        raise RemoteProtocolError("h2-protocol", "a SETTINGS frame of odd length")
    return [(int(key), int(value)) for key, value in _SETTING.iter_unpack(payload)]


def encode_header_block(headers: Iterable[tuple[str, str]]) -> bytes:
    """A header block that changes no state of the reader; names are lower case."""
    block = bytearray()
    for name, value in headers:
        pair = _STATIC_PAIRS.get((name, value))
        if pair is not None:
            block.append(0x80 | pair)
            continue
        index = _STATIC_NAMES.get(name, 0)
        block.append(index)
        if not index:
            block += _string(name.encode("ascii"))
        block += _string(value.encode("latin-1"))
    return bytes(block)


def _string(text: bytes) -> bytes:
    """A string literal without Huffman coding: its length with a 7-bit prefix, and the bytes."""
    size = len(text)
    if size < 127:
        return bytes((size,)) + text
    head = bytearray((127,))
    size -= 127
    while size >= 128:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head) + text


class FrameReader:
    """Takes the frames of a server apart."""

    __slots__ = ("_begun", "_block", "_ends", "_held", "_kind", "_left", "_padding", "received")

    def __init__(self) -> None:
        self._held = b""
        """The beginning of a frame: a head, or a frame that is taken whole."""
        self._kind = _SKIPPED
        """What `_left` bytes to come are: DATA, or nothing for us."""
        self._left = 0
        self._padding = 0
        """Bytes to skip after those."""
        self._ends = 0
        """END_STREAM, if the DATA frame that has `_left` to come has it."""
        self._block: tuple[int, bytearray] | None = None
        """A header block that goes on: the flags of HEADERS and what came."""
        self._begun = False
        self.received = 0
        """Bytes of DATA, padding included, since the owner set it to 0: what the windows owe."""

    def feed(self, data: Buffer) -> list[Frame]:
        """The frames, and parts of DATA frames, in what arrived.

        Raises:
            RemoteProtocolError: not HTTP/2, or too large.
        """
        frames: list[Frame] = []
        if self._held:
            data = self._held + data
            self._held = b""
        view = memoryview(data)
        at, size = 0, len(view)
        while at < size:
            if self._left:
                part = view[at : at + self._left]
                at += len(part)
                self._continue(part, frames)
            elif self._padding:
                skipped = min(self._padding, size - at)
                self._padding -= skipped
                at += skipped
            else:
                end = self._next(view, at, size, frames)
                if not end:
                    self._held = bytes(view[at:])
                    break
                at = end
        return frames

    def _continue(self, part: memoryview, frames: list[Frame]) -> None:
        self._left -= len(part)
        if self._kind == DATA:
            flags = 0 if self._left else self._ends
            frames.append(Frame(DATA, flags, 1, part))

    def _next(self, view: memoryview, at: int, size: int, frames: list[Frame]) -> int:
        """Begin the frame at `at`; where to go on, 0 while bytes are missing."""
        start = at + HEAD_BYTES
        if size < start:
            self._check_beginning(view, at, size)
            return 0
        word: int
        word, flags, stream = _HEAD.unpack_from(view, at)
        kind, length, stream = word & 0xFF, word >> 8, stream & LARGEST_WINDOW
        if not self._begun and (kind != SETTINGS or stream or flags & ACK):
            raise RemoteProtocolError("h2-not-http2", "the first frame is not SETTINGS")
        if self._block is not None and kind != CONTINUATION:
            raise RemoteProtocolError("h2-protocol", "a header block that is interrupted")
        if kind == DATA:
            if stream != 1:
                raise RemoteProtocolError("h2-protocol", f"DATA on stream {stream}")
            return self._begin_data(view[start:], flags, length, frames, start)
        if kind > CONTINUATION or kind == PRIORITY:
            self._kind, self._left = _SKIPPED, length
            return start
        end = start + length
        if length > MAX_WHOLE_BYTES:
            raise RemoteProtocolError("h2-too-large", f"a frame of type {kind}, {length} bytes")
        if size < end:
            return 0
        self._begun = True
        payload = view[start:end]
        if kind in (HEADERS, CONTINUATION):
            self._collect(kind, flags, stream, payload, frames)
        else:
            frames.append(Frame(kind, flags, stream, payload))
        return end

    def _check_beginning(self, view: memoryview, at: int, size: int) -> None:
        """A server that speaks HTTP/1 is told apart before it has said 9 bytes."""
        if not self._begun and size - at >= 4 and view[at + 3] != SETTINGS:
            raise RemoteProtocolError("h2-not-http2", "the first frame is not SETTINGS")

    def _begin_data(
        self, rest: memoryview, flags: int, length: int, frames: list[Frame], start: int
    ) -> int:
        """Begin a DATA frame whose payload begins with `rest`, at `start`; where to go on."""
        padding = extra = 0
        if flags & PADDED:
            if not rest:
                return 0
            padding, extra = rest[0], 1
            if padding + extra > length:
                raise RemoteProtocolError("h2-protocol", "more padding than frame")
        self.received += length
        self._kind = DATA
        self._left = length - padding - extra
        self._padding = padding
        self._ends = flags & END_STREAM
        if self._ends and not self._left:
            frames.append(Frame(DATA, END_STREAM, 1, b""))
        return start + extra

    def _collect(
        self, kind: int, flags: int, stream: int, payload: memoryview, frames: list[Frame]
    ) -> None:
        """Put a header block together; all of it is for stream 1."""
        if stream != 1 or (kind == CONTINUATION) != (self._block is not None):
            raise RemoteProtocolError("h2-protocol", "a header block out of place")
        if self._block is None:
            self._block = (flags, bytearray(_without_extras(flags, payload)))
        else:
            self._block[1].extend(payload)
        first_flags, block = self._block
        if len(block) > MAX_BLOCK_BYTES:
            raise RemoteProtocolError("h2-too-large", "a header block")
        if flags & END_HEADERS:
            self._block = None
            frames.append(Frame(HEADERS, first_flags, stream, bytes(block)))


def _without_extras(flags: int, payload: memoryview) -> memoryview:
    """The fragment in a HEADERS frame, without padding and priority."""
    start = padding = 0
    if flags & PADDED:
        padding = payload[0] if payload else 0
        start = 1
    if flags & HAS_PRIORITY:
        start += _PRIORITY_BYTES
    if start + padding > len(payload):
        raise RemoteProtocolError("h2-protocol", "more padding than frame")
    return payload[start : len(payload) - padding]
