"""simple-obfs, client side: a stream that begins as HTTP or TLS would (plugin `obfs`).

github.com/shadowsocks/simple-obfs. It hides nothing and proves nothing: the cipher above does.

    http   request    GET head of a WebSocket, Content-Length that of the first payload | stream
           response   101 head | stream
    tls    request    ClientHello, its session ticket the first payload | records 23
           response   ServerHello | ChangeCipherSpec | record 22 | records 23

    record   type 1, version 2 (0303), length 2, payload

Causes: http-bad-head, http-head-too-large, http-status, obfs-bad-record, obfs-eof.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from struct import Struct, pack
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.codec.layer import Layer
from mihomo_tproxy.errors import RemoteProtocolError
from mihomo_tproxy.transport.upgrade import ResponseReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from mihomo_tproxy.codec.layer import Buffer

MAX_RECORD_PAYLOAD: Final = 16384
MAX_TICKET: Final = 1400
"""Of the first payload: a server may want the ClientHello in one piece and in a small buffer."""
_SWITCHING_PROTOCOLS: Final = 101
_HTTP_PORT: Final = 80
_CHANGE_CIPHER_SPEC: Final = 20
_HANDSHAKE: Final = 22
_APPLICATION: Final = 23
_HEAD: Final = Struct(">BHH")
_VERSION_HIGH: Final = 3
_TLS_1_0: Final = 0x0301
_TLS_1_2: Final = 0x0303
_SKIPPED: Final = (_HANDSHAKE, _CHANGE_CIPHER_SPEC)
"""The records of a response that carry nothing."""
_MAX_SKIPPED: Final = 512
_SUITES: Final = pack(
    ">28H",
    *(0xC02C, 0xC030, 0x009F, 0xCCA9, 0xCCA8, 0xCCAA, 0xC02B, 0xC02F, 0x009E, 0xC024),
    *(0xC028, 0x006B, 0xC023, 0xC027, 0x0067, 0xC00A, 0xC014, 0x0039, 0xC009, 0xC013),
    *(0x0033, 0x009D, 0x009C, 0x003D, 0x003C, 0x0035, 0x002F, 0x00FF),
)
"""Servers find the ticket by its offset: there must be 28."""
_OTHER_EXTENSIONS: Final = (
    pack(">HHB3B", 11, 4, 3, 1, 0, 2)  # point formats
    + pack(">HHH4H", 10, 10, 8, 0x001D, 0x0017, 0x0019, 0x0018)  # groups
    + pack(">HHH", 13, 32, 30)  # signature algorithms
    + pack(">8H", 0x0601, 0x0602, 0x0603, 0x0501, 0x0502, 0x0503, 0x0401, 0x0402)
    + pack(">7H", 0x0403, 0x0301, 0x0302, 0x0303, 0x0201, 0x0202, 0x0203)
    + pack(">HH", 22, 0)  # encrypt then MAC
    + pack(">HH", 23, 0)  # extended master secret
)


class HttpObfs(Layer):
    """One connection that begins as WebSocket does."""

    __slots__ = ("_host", "_random", "_response", "_sent")

    def __init__(self, host: str, port: int, random: Callable[[int], bytes]) -> None:
        """`host` for the Host header, `port` the server's; `random` gives that many bytes."""
        super().__init__()
        self._host = host if port == _HTTP_PORT else f"{host}:{port}"
        self._random = random
        self._response: ResponseReader | None = ResponseReader()
        """Until the response was read."""
        self._sent = False

    def seal(self, payload: Buffer) -> Buffer:
        """The payload, the first behind the request."""
        if self._sent:
            return payload
        self._sent = True
        self.transparent = self._response is None
        number = self._random(2)
        head = (
            "GET / HTTP/1.1\r\n"
            f"Host: {self._host}\r\n"
            f"User-Agent: curl/7.{number[0] % 54}.{number[1] % 2}\r\n"
            "Upgrade: websocket\r\n"
            "Connection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {urlsafe_b64encode(self._random(16)).decode()}\r\n"
            f"Content-Length: {len(payload)}\r\n"
            "\r\n"
        )
        return head.encode() + payload

    def feed(self, data: Buffer) -> Buffer:
        """Strips the response.

        Raises:
            RemoteProtocolError: the server does not answer as simple-obfs does.
        """
        if self._response is None:
            return data
        found = self._response.feed(data)
        if found is None:
            return b""
        if found[0].status != _SWITCHING_PROTOCOLS:
            raise RemoteProtocolError("http-status", f"status {found[0].status} instead of 101")
        self._response = None
        self.transparent = self._sent
        return found[1]


class TlsObfs(Layer):
    """One connection that begins as TLS does, and goes on in records."""

    __slots__ = ("_head", "_host", "_left", "_now", "_random", "_records", "_sent")

    def __init__(self, host: str, now: Callable[[], float], random: Callable[[int], bytes]) -> None:
        """`host` is the server name; `now` is seconds since 1970."""
        super().__init__()
        self._host = host.encode()
        self._now = now
        self._random = random
        self._sent = False
        self._head = b""
        """Of a record, while it is incomplete."""
        self._left = 0
        """Bytes of the present record still to come."""
        self._records = 0
        """How many began; the first two carry nothing."""

    def seal(self, payload: Buffer) -> Buffer:
        """Records of the payload, the first part of it in the ClientHello."""
        view = memoryview(payload)
        parts: list[Buffer] = []
        start = 0
        if not self._sent:
            self._sent = True
            start = MAX_TICKET
            parts.append(self._client_hello(view[:start]))
        for at in range(start, len(view), MAX_RECORD_PAYLOAD):
            part = view[at : at + MAX_RECORD_PAYLOAD]
            parts += (_HEAD.pack(_APPLICATION, _TLS_1_2, len(part)), part)
        return b"".join(parts)

    def feed(self, data: Buffer) -> Buffer:
        """Takes the payload out of its records.

        Raises:
            RemoteProtocolError: the server does not answer as simple-obfs does.
        """
        view = memoryview(data)
        parts: list[Buffer] = []
        at, size = 0, len(view)
        while at < size:
            if self._left:
                part = view[at : at + self._left]
                at += len(part)
                self._left -= len(part)
                if self._records > len(_SKIPPED):
                    parts.append(part)
                continue
            piece = view[at : at + _HEAD.size - len(self._head)]
            at += len(piece)
            self._head += piece
            if len(self._head) == _HEAD.size:
                self._begin_record(*_HEAD.unpack(self._head))
                self._head = b""
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def feed_eof(self) -> None:
        """The wire ended.

        Raises:
            RemoteProtocolError: within a record.
        """
        if self._left or self._head:
            raise RemoteProtocolError("obfs-eof", "the wire ended within a record")

    def _begin_record(self, kind: int, version: int, length: int) -> None:
        if self._records < len(_SKIPPED):
            fits = kind == _SKIPPED[self._records] and length <= _MAX_SKIPPED
        else:
            # The first that carries something looks like the server's Finished.
            fits = kind in (_APPLICATION, _HANDSHAKE)
        if not fits or version >> 8 != _VERSION_HIGH:
            raise RemoteProtocolError("obfs-bad-record", f"a record {kind} of {length} bytes")
        self._records += 1
        self._left = length

    def _client_hello(self, ticket: Buffer) -> bytes:
        name = pack(">HBH", len(self._host) + 3, 0, len(self._host)) + self._host
        extensions = (
            pack(">HH", 35, len(ticket))
            + ticket
            + pack(">HH", 0, len(name))
            + name
            + _OTHER_EXTENSIONS
        )
        hello = (
            pack(">HI", _TLS_1_2, int(self._now()) & 0xFFFFFFFF)
            + self._random(28)
            + b"\x20"
            + self._random(32)
            + len(_SUITES).to_bytes(2, "big")
            + _SUITES
            + b"\x01\x00"
            + len(extensions).to_bytes(2, "big")
            + extensions
        )
        message = pack(">I", 1 << 24 | len(hello)) + hello
        return _HEAD.pack(_HANDSHAKE, _TLS_1_0, len(message)) + message
