"""WebSocket frames (RFC 6455, 5), the client's side: it masks what it sends.

    | FIN 1 RSV 3 opcode 4 | MASK 1 length 7 | length 16 or 64 | mask 32, ours only | payload |

A stream is carried in binary messages; where a message or a frame ends means nothing. Payload is
handed on as it comes, so that no frame is ever held: at most 13 bytes of a head, or a control frame
(127 bytes). No extension is offered, so the RSV bits are 0. Causes: `websocket-frame` for what
breaks the RFC, `websocket-closed` for a close with a status that is no normal one.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha1
from struct import Struct
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.codec.masking import apply_mask
from mihomo_tproxy.errors import RemoteProtocolError

if TYPE_CHECKING:
    from mihomo_tproxy.codec.layer import Buffer

BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10
MAX_CONTROL_BYTES: Final = 125

_CONTINUATION: Final = 0
_TEXT: Final = 1
_FIN: Final = 0x80
_RESERVED: Final = 0x70
_MASKED: Final = 0x80
_MAX_LENGTH: Final = (1 << 63) - 1
_NORMAL_CLOSES: Final = (1000, 1001)
_ACCEPT_SUFFIX: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_SHORT_HEAD: Final = Struct(">BB4s").pack
_MEDIUM_HEAD: Final = Struct(">BBH4s").pack
_LONG_HEAD: Final = Struct(">BBQ4s").pack


def accept_key(key: bytes) -> bytes:
    """The `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key` (RFC 6455, 4.2.2)."""
    return b64encode(sha1(key + _ACCEPT_SUFFIX, usedforsecurity=False).digest())


def encode_frame(opcode: int, payload: Buffer, mask: bytes) -> bytes:
    """One final frame, masked with the 4 bytes of `mask`."""
    size = len(payload)
    if size < 126:
        head = _SHORT_HEAD(_FIN | opcode, _MASKED | size, mask)
    elif size < 65536:
        head = _MEDIUM_HEAD(_FIN | opcode, _MASKED | 126, size, mask)
    else:
        head = _LONG_HEAD(_FIN | opcode, _MASKED | 127, size, mask)
    return head + apply_mask(payload, mask)


class FrameReader:
    """Takes frames of a server apart."""

    __slots__ = ("_fragmented", "_held", "_left", "closed", "goes_on", "ping")

    def __init__(self) -> None:
        self._held = b""
        """The beginning of a head or of a control frame."""
        self._left = 0
        """Payload bytes of the current data frame that are still to come."""
        self._fragmented = False
        """The message goes on in another frame."""
        self.closed = False
        """A close frame came that ends the stream; what follows it is ignored."""
        self.goes_on = False
        """A close frame ends nothing, it answers ours."""
        self.ping: bytes | None = None
        """What the latest ping holds, to be answered and set to None by the caller; it may answer
        for earlier ones (RFC 6455, 5.5.3)."""

    @property
    def between_frames(self) -> bool:
        """Whether the stream may end here without loss."""
        return not (self._held or self._left or self._fragmented)

    def feed(self, data: Buffer) -> Buffer:
        """The payload in what arrived.

        Raises:
            RemoteProtocolError: not a frame, or the server closes for a failure.
        """
        if self.closed:
            return b""
        left = self._left
        if left >= len(data):
            self._left = left - len(data)
            return data
        if self._held:
            data = self._held + data
            self._held = b""
        view = memoryview(data)
        pieces = [view[:left]] if left else []
        self._left = 0
        at, size = left, len(view)
        while at < size and not self.closed:
            frame = _parse_head(view, at, size)
            end = frame[1] + frame[2] if frame else 0
            if not frame or (frame[0] & CLOSE and end > size):
                self._held = bytes(view[at:])
                break
            first, start, _ = frame
            if first & CLOSE:
                self._control(first, bytes(view[start:end]))
                at = end
                continue
            self._message(first)
            at = min(end, size)
            self._left = end - at
            pieces.append(view[start:at])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _message(self, first: int) -> None:
        """Keep account of fragments: a message begins with an opcode and goes on without."""
        opcode = first & 0x0F
        if opcode not in (_CONTINUATION, _TEXT, BINARY):
            raise RemoteProtocolError("websocket-frame", f"opcode {opcode}")
        if (opcode == _CONTINUATION) != self._fragmented:
            raise RemoteProtocolError("websocket-frame", "a fragment of no message")
        self._fragmented = not first & _FIN

    def _control(self, first: int, payload: bytes) -> None:
        opcode = first & 0x0F
        if opcode == PING:
            self.ping = payload
        elif opcode == CLOSE:
            status = int.from_bytes(payload[:2], "big")
            if payload and status not in _NORMAL_CLOSES:
                raise RemoteProtocolError("websocket-closed", f"close status {status}")
            self.closed = not self.goes_on
        elif opcode != PONG:
            raise RemoteProtocolError("websocket-frame", f"opcode {opcode}")


def _parse_head(view: memoryview, at: int, size: int) -> tuple[int, int, int] | None:
    """First byte, start of the payload and its length; None while bytes are missing."""
    if size - at < 2:
        return None
    first, length = view[at], view[at + 1]
    if first & _RESERVED or length & _MASKED:
        raise RemoteProtocolError("websocket-frame", "reserved bits, or a mask")
    if first & CLOSE and (length > MAX_CONTROL_BYTES or not first & _FIN):
        raise RemoteProtocolError("websocket-frame", "a long or fragmented control frame")
    start = at + 2
    if length > MAX_CONTROL_BYTES:
        end = start + (2 if length == 126 else 8)
        if size < end:
            return None
        length = int.from_bytes(view[start:end], "big")
        if length > _MAX_LENGTH:
            raise RemoteProtocolError("websocket-frame", "a length above 2^63")
        start = end
    return first, start, length
