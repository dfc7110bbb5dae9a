"""HTTP/1.x message heads: read, checked, written (RFC 9112, 2 to 5; RFC 9110, 5).

    request  = method SP target SP HTTP/1.x CRLF *(name ":" OWS value OWS CRLF) CRLF
    response = HTTP/1.x SP status [SP [reason]] CRLF *(field) CRLF

What two readers could understand differently is refused, for we stand between two: bare CR or LF,
folded lines, space before the colon, NUL. Text is ISO 8859-1, so that every byte survives being
read and written again. A head is held until it is complete, at most `MAX_HEAD_BYTES` of it, and
scanned once. Causes: `http-bad-head`, `http-head-too-large`; `http-bad-field` for what cannot be
written.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from mihomo_tproxy.errors import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mihomo_tproxy.codec.layer import Buffer

MAX_HEAD_BYTES: Final = 65536
MAX_FIELDS: Final = 256

Headers = list[tuple[str, str]]
"""Names as they came, and values without the space around them, in order."""

_TCHARS: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_NAME: Final = re.compile(_TCHARS)
_VALUE: Final = re.compile(r"[^\x00\r\n]*")
_REQUEST_LINE: Final = re.compile(rf"({_TCHARS}) ([\x21-\x7e\x80-\xff]+) HTTP/1\.([0-9])")
_STATUS_LINE: Final = re.compile(r"HTTP/1\.([0-9]) ([1-9][0-9]{2})(?: ([^\x00\r\n]*))?")
_LINE_END: Final = b"\r\n"
_HEAD_END: Final = b"\r\n\r\n"
_HOP_BY_HOP: Final = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization"),
        *("proxy-connection", "te", "upgrade"),
    }
)


class RequestHead(NamedTuple):
    """What a client asks for."""

    method: str
    target: str
    minor: int
    """The y of HTTP/1.y."""
    headers: Headers


class ResponseHead(NamedTuple):
    """What a server answers."""

    status: int
    reason: str
    minor: int
    """The y of HTTP/1.y."""
    headers: Headers


class HeadReader:
    """Collects one head from a stream."""

    __slots__ = ("_held", "_scanned", "_start")

    def __init__(self, start: bytes = b"") -> None:
        """What does not begin with `start` is refused before its head ends."""
        self._start = start
        self._held = bytearray()
        self._scanned = 0

    def feed(self, data: Buffer) -> tuple[bytes, bytes] | None:
        """The head without its empty line, and the bytes after it; None while it is incomplete.

        Empty lines before the head are passed over (RFC 9112, 2.2). After a head the reader is
        empty and reads the next.

        Raises:
            RemoteProtocolError: too large, another start, or a line that does not end with CRLF.
        """
        held = self._held
        held += data
        empty = 0
        while held.startswith(_LINE_END, empty):
            empty += len(_LINE_END)
        del held[:empty]
        if not held.startswith(self._start[: len(held)]) and held != b"\r":
            raise RemoteProtocolError("http-bad-head", "not HTTP/1")
        end = held.find(_HEAD_END, self._scanned)
        if (end if end >= 0 else len(held)) > MAX_HEAD_BYTES:
            raise RemoteProtocolError("http-head-too-large")
        if end < 0:
            self._check_lines(held)
            return None
        head, rest = bytes(held[:end]), bytes(held[end + len(_HEAD_END) :])
        self._held = bytearray()
        self._scanned = 0
        return head, rest

    @property
    def empty(self) -> bool:
        """Whether nothing of a head has come."""
        return not self._held

    def _check_lines(self, held: bytearray) -> None:
        """Refuse at once what would otherwise never end; scan it next time from here."""
        start = self._scanned
        if held.count(b"\n", start) != held.count(_LINE_END, max(start - 1, 0)):
            raise RemoteProtocolError("http-bad-head", "a line that ends without CR")
        self._scanned = max(len(held) - len(_HEAD_END) + 1, 0)


def parse_request(head: bytes) -> RequestHead:
    """A request from its head without the empty line.

    Raises:
        RemoteProtocolError: not a request, or one that could be misread.
    """
    first, *fields = head.decode("latin-1").split("\r\n")
    found = _REQUEST_LINE.fullmatch(first)
    if found is None:
        raise RemoteProtocolError("http-bad-head", "not an HTTP/1 request line")
    return RequestHead(found[1], found[2], int(found[3]), _parse_fields(fields))


def parse_response(head: bytes) -> ResponseHead:
    """A response from its head without the empty line.

    Raises:
        RemoteProtocolError: not a response, or one that could be misread.
    """
    first, *fields = head.decode("latin-1").split("\r\n")
    found = _match_status_line(first)
    return ResponseHead(int(found[2]), found[3] or "", int(found[1]), _parse_fields(fields))


def parse_status(head: bytes) -> int:
    """The status of a response from its head, whose fields are not looked at.

    Raises:
        RemoteProtocolError: not a response.
    """
    return int(_match_status_line(head.partition(_LINE_END)[0].decode("latin-1"))[2])


def parse_field(line: str) -> tuple[str, str]:
    """Name and value of one line.

    Raises:
        RemoteProtocolError: not a field, or one that could be misread.
    """
    name, colon, value = line.partition(":")
    if not colon or _NAME.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
        raise RemoteProtocolError("http-bad-head", "a line that is no header field")
    return name, value.strip(" \t")


def encode_request(method: str, target: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """An HTTP/1.1 request head.

    Raises:
        LocalProtocolError: a part that would not be read back as it is.
    """
    line = f"{method} {target} HTTP/1.1"
    if not _representable(line) or _REQUEST_LINE.fullmatch(line) is None:
        raise LocalProtocolError("http-bad-field", "cannot be written as a request line")
    return b"%b\r\n%b\r\n" % (line.encode("latin-1"), encode_fields(headers))


def encode_response(status: int, reason: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """An HTTP/1.1 response head.

    Raises:
        LocalProtocolError: a part that would not be read back as it is.
    """
    line = f"HTTP/1.1 {status} {reason}"
    if not _representable(line) or _STATUS_LINE.fullmatch(line) is None:
        raise LocalProtocolError("http-bad-field", "cannot be written as a status line")
    return b"%b\r\n%b\r\n" % (line.encode("latin-1"), encode_fields(headers))


def encode_fields(headers: Iterable[tuple[str, str]]) -> bytes:
    """Header lines, each with its CRLF.

    Raises:
        LocalProtocolError: a name or value that would not be read back as it is.
    """
    lines = []
    for name, value in headers:
        if not _representable(value) or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise LocalProtocolError("http-bad-field", f"cannot be written as a header: {name!r}")
        lines.append(f"{name}: {value}\r\n")
    return "".join(lines).encode("latin-1")


def field_values(headers: Headers, name: str) -> list[str]:
    """The elements of every field of a name (lower case) whose value is a list, lower case."""
    found = []
    for key, value in headers:
        if key.lower() == name:
            found += [item.strip(" \t").lower() for item in value.split(",")]
    return [item for item in found if item]


def persistent(head: RequestHead | ResponseHead) -> bool:
    """Whether its sender keeps the connection after this message (RFC 9112, 9.3)."""
    options = field_values(head.headers, "connection")
    if isinstance(head, RequestHead):
        options += field_values(head.headers, "proxy-connection")
    if "close" in options:
        return False
    return head.minor >= 1 or "keep-alive" in options


def end_to_end(headers: Headers) -> Headers:
    """The fields that are for the other end, not for us (RFC 9110, 7.6.1).

    `Transfer-Encoding` and `Trailer` stay: bodies pass through as they are framed.
    """
    drop = _HOP_BY_HOP.union(field_values(headers, "connection"))
    drop -= {"transfer-encoding", "content-length", "host", "trailer"}
    return [(name, value) for name, value in headers if name.lower() not in drop]


def _match_status_line(line: str) -> re.Match[str]:
    found = _STATUS_LINE.fullmatch(line)
    if found is None:
        raise RemoteProtocolError("http-bad-head", "not an HTTP/1 status line")
    return found


def _parse_fields(lines: list[str]) -> Headers:
    if len(lines) > MAX_FIELDS:
        raise RemoteProtocolError("http-head-too-large", f"{len(lines)} header fields")
    return [parse_field(line) for line in lines]


def _representable(text: str) -> bool:
    return text.isascii() or max(text) <= "\xff"
