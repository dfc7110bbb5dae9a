"""How long an HTTP/1.x body is (RFC 9112, 6.3 and 7.1); bodies pass through as they are framed.

    chunked = *( size-hex [";" extension] CRLF data CRLF ) 1*"0" [";" extension] CRLF
              *( trailer CRLF ) CRLF

A message whose end two readers could see in different places is refused: a length next to a
transfer coding, lengths that differ, a coding that does not end with `chunked` in a request, any
coding of an HTTP/1.0 peer. A body holds at most one line of its framing. Causes:
`http-bad-framing`, `http-bad-chunk`, `http-truncated`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.codec.http1 import RequestHead, ResponseHead, field_values, parse_field
from mihomo_tproxy.errors import RemoteProtocolError

if TYPE_CHECKING:
    from mihomo_tproxy.codec.layer import Buffer

MAX_CHUNK_LINE_BYTES: Final = 4096
MAX_TRAILER_BYTES: Final = 16384
_MAX_LENGTH_DIGITS: Final = 18
_CHUNK_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\x00\r\n]*)?")
_LINE_END: Final = b"\r\n"
_WITHOUT_BODY: Final = (204, 304)


class BodyReader:
    """Tells which bytes of a stream are the body. As such the body of no bytes."""

    __slots__ = ("done",)

    until_close: bool = False
    """Whether only the end of the connection ends the body."""

    def __init__(self) -> None:
        self.done = True
        """The body is complete: what follows is another message."""

    def take(self, data: Buffer) -> int:
        """How many of the bytes that came next are the body, framing included.

        Fewer than all only once `done`.

        Raises:
            RemoteProtocolError: the framing is broken.
        """
        return 0

    def feed_eof(self) -> None:
        """The connection ended.

        Raises:
            RemoteProtocolError: in the middle of the body.
        """
        if not self.done:
            raise RemoteProtocolError("http-truncated", "the connection ended within a body")


class LengthBody(BodyReader):
    """A body of a known number of bytes."""

    __slots__ = ("_left",)

    def __init__(self, length: int) -> None:
        super().__init__()
        self._left = length
        self.done = not length

    def take(self, data: Buffer) -> int:
        """How many of the bytes are the body."""
        size = min(len(data), self._left)
        self._left -= size
        self.done = not self._left
        return size


class CloseBody(BodyReader):
    """Everything until the connection ends."""

    __slots__ = ()
    until_close = True

    def __init__(self) -> None:
        super().__init__()
        self.done = False

    def take(self, data: Buffer) -> int:
        """All of them."""
        return len(data)

    def feed_eof(self) -> None:
        """The connection ended, and the body with it."""
        self.done = True


class ChunkedBody(BodyReader):
    """Chunks, then a trailer section."""

    __slots__ = ("_left", "_line", "_partial", "_trailer_bytes")

    def __init__(self) -> None:
        super().__init__()
        self.done = False
        self._left = 0
        self._line = self._size_line
        self._partial = b""
        self._trailer_bytes = 0

    def take(self, data: Buffer) -> int:
        """How many of the bytes are the body, with sizes and trailers.

        Raises:
            RemoteProtocolError: not chunks.
        """
        view = data if isinstance(data, bytes | bytearray) else bytes(data)
        position, size = 0, len(view)
        while position < size and not self.done:
            if self._left:
                step = min(self._left, size - position)
                self._left -= step
                position += step
            else:
                position = self._take_line(view, position)
        return position

    def _take_line(self, data: bytes | bytearray, position: int) -> int:
        end = data.find(b"\n", position, position + MAX_CHUNK_LINE_BYTES)
        line = self._partial + data[position : end + 1 if end >= 0 else None]
        if len(line) > MAX_CHUNK_LINE_BYTES:
            raise RemoteProtocolError("http-bad-chunk", "a line that is too long")
        if end < 0:
            self._partial = line
            return len(data)
        self._partial = b""
        if line[-2:] != _LINE_END:
            raise RemoteProtocolError("http-bad-chunk", "a line that ends without CR")
        self._line(line[:-2])
        return end + 1

    def _size_line(self, line: bytes) -> None:
        found = _CHUNK_LINE.fullmatch(line)
        if found is None:
            raise RemoteProtocolError("http-bad-chunk", "not the size of a chunk")
        self._left = int(found[1], 16)
        self._line = self._data_end if self._left else self._trailer_line

    def _data_end(self, line: bytes) -> None:
        if line:
            raise RemoteProtocolError("http-bad-chunk", "a chunk longer than its size")
        self._line = self._size_line

    def _trailer_line(self, line: bytes) -> None:
        if not line:
            self.done = True
            return
        self._trailer_bytes += len(line) + len(_LINE_END)
        if self._trailer_bytes > MAX_TRAILER_BYTES:
            raise RemoteProtocolError("http-bad-chunk", "a trailer section that is too large")
        parse_field(line.decode("latin-1"))


def request_body(head: RequestHead) -> BodyReader:
    """The body of a request; none for CONNECT, after which a tunnel follows.

    Raises:
        RemoteProtocolError: its end cannot be told for sure.
    """
    codings = _codings(head)
    length = _content_length(head)
    if head.method == "CONNECT":
        if codings or length:
            raise RemoteProtocolError("http-bad-framing", "CONNECT with a body")
        return BodyReader()
    if codings:
        if codings[-1] != "chunked":
            raise RemoteProtocolError("http-bad-framing", "a transfer coding without an end")
        return ChunkedBody()
    return LengthBody(length or 0)


def response_body(head: ResponseHead, method: str) -> BodyReader:
    """The body of the response to a request of some method.

    None for 1xx, after which another response follows, and for what ends HTTP on the connection:
    101, and success of CONNECT.

    Raises:
        RemoteProtocolError: its end cannot be told for sure.
    """
    status = head.status
    if method == "HEAD" or status < 200 or status in _WITHOUT_BODY:
        return BodyReader()
    if method == "CONNECT" and status < 300:
        return BodyReader()
    codings = _codings(head)
    length = _content_length(head)
    if codings:
        return ChunkedBody() if codings[-1] == "chunked" else CloseBody()
    return CloseBody() if length is None else LengthBody(length)


def _codings(head: RequestHead | ResponseHead) -> list[str]:
    codings = field_values(head.headers, "transfer-encoding")
    present = any(name.lower() == "transfer-encoding" for name, _ in head.headers)
    if present and not codings:
        raise RemoteProtocolError("http-bad-framing", "an empty Transfer-Encoding")
    if codings and head.minor < 1:
        raise RemoteProtocolError("http-bad-framing", "a transfer coding in HTTP/1.0")
    if "chunked" in codings[:-1]:
        raise RemoteProtocolError("http-bad-framing", "chunked before another transfer coding")
    return codings


def _content_length(head: RequestHead | ResponseHead) -> int | None:
    values: list[str] = []
    coded = False
    for name, value in head.headers:
        lower = name.lower()
        if lower == "content-length":
            values += [item.strip(" \t") for item in value.split(",")]
        coded = coded or lower == "transfer-encoding"
    if not values:
        return None
    if coded:
        raise RemoteProtocolError("http-bad-framing", "Content-Length and Transfer-Encoding")
    first = values[0]
    if any(value != first for value in values):
        raise RemoteProtocolError("http-bad-framing", "different Content-Lengths")
    if not (first.isascii() and first.isdigit() and len(first) <= _MAX_LENGTH_DIGITS):
        raise RemoteProtocolError("http-bad-framing", "not a Content-Length")
    return int(first)
