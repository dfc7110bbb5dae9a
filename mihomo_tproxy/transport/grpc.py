"""`network: grpc`: the payload in gRPC messages of one call, v2ray's gun (HTTP/2 below).

github.com/grpc/grpc, doc/PROTOCOL-HTTP2; the service is `rpc Tun (stream Hunk) returns (stream
Hunk)` with `message Hunk { bytes data = 1; }`:

    | compressed 1 (0) | length 32 | tag 1 (0x0A) | varint | payload |

One `seal` is one message. Payload of the server's messages is handed on as it comes; at most 9
bytes of a prefix are held. A message of several fields 1, as `TunMulti` has them, is understood.
Causes: those of `h2`, `grpc-status` with the server's code in the message, `grpc-message`.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.errors import RemoteProtocolError
from mihomo_tproxy.transport.h2 import H2Layer, opening

if TYPE_CHECKING:
    from mihomo_tproxy.codec.layer import Buffer
    from mihomo_tproxy.config.specs.transport import GrpcSpec

DEFAULT_USER_AGENT: Final = "grpc-go/1.36.0"

_TAG: Final = 0x0A
_PREFIX_BYTES: Final = 5
_MAX_VARINT_BYTES: Final = 5
_SHORT: Final = Struct(">BIBB").pack
_MEDIUM: Final = Struct(">BIBBB").pack
_LONG: Final = Struct(">BIBBBB").pack


def grpc_opening(spec: GrpcSpec, server: str, port: int, tls: bool) -> tuple[bytes]:
    """What precedes the first message; see `transport_factory` for the arguments."""
    name = spec.service_name
    host = f"[{server}]" if ":" in server else server
    return (
        opening(
            [
                (":method", "POST"),
                (":scheme", "https" if tls else "http"),
                (":path", name if name.startswith("/") else f"/{name}/Tun"),
                (":authority", host if tls else f"{host}:{port}"),
                ("content-type", "application/grpc"),
                ("user-agent", spec.user_agent or DEFAULT_USER_AGENT),
                ("te", "trailers"),
            ]
        ),
    )


def message_prefix(size: int) -> bytes:
    """What precedes `size` bytes of payload, less than 2 MiB of them."""
    if size < 1 << 7:
        return _SHORT(0, size + 2, _TAG, size)
    if size < 1 << 14:
        return _MEDIUM(0, size + 3, _TAG, size & 0x7F | 0x80, size >> 7)
    return _LONG(0, size + 4, _TAG, size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14)


class GrpcLayer(H2Layer):
    """The client's side of one call."""

    __slots__ = ("_field_left", "_message_left", "_prefix")

    def __init__(self, openings: tuple[bytes, ...]) -> None:
        super().__init__(openings)
        self._prefix = b""
        """The beginning of a message's or a field's head."""
        self._message_left = 0
        self._field_left = 0

    def feed(self, data: Buffer) -> Buffer:
        """Take frames; the payload of the messages in them.

        Raises:
            RemoteProtocolError: the server breaks the protocol, or refuses the call.
        """
        payload: list[Buffer] = []
        for piece in self._receive(data):
            size = len(piece)
            if self._field_left >= size:
                self._field_left -= size
                self._message_left -= size
                payload.append(piece)
            else:
                self._take_messages(piece, payload)
        if self.ended and (self._message_left or self._prefix):
            raise RemoteProtocolError("grpc-message", "the stream ended inside a message")
        return payload[0] if len(payload) == 1 else b"".join(payload)

    def seal(self, payload: Buffer) -> Buffer:
        """One message in DATA frames.

        Raises:
            LocalProtocolError: much more than the server's windows allow.
        """
        size = len(payload)
        return super().seal(message_prefix(size) + payload if size else b"")

    def _take_messages(self, piece: Buffer, payload: list[Buffer]) -> None:
        view = memoryview(self._prefix + piece if self._prefix else piece)
        self._prefix = b""
        at, size = 0, len(view)
        while at < size:
            if self._field_left:
                part = view[at : at + self._field_left]
                self._field_left -= len(part)
                self._message_left -= len(part)
                at += len(part)
                payload.append(part)
                continue
            taken = self._take_field(view[at:]) if self._message_left else self._begin(view[at:])
            if not taken:
                self._prefix = bytes(view[at:])
                return
            at += taken

    def _begin(self, view: memoryview) -> int:
        """A message's prefix; its length, 0 while bytes are missing."""
        if view[0]:
            raise RemoteProtocolError("grpc-message", "a compressed message")
        if len(view) < _PREFIX_BYTES:
            return 0
        self._message_left = int.from_bytes(view[1:_PREFIX_BYTES], "big")
        return _PREFIX_BYTES

    def _take_field(self, view: memoryview) -> int:
        """A field's tag and length; how long they are, 0 while bytes are missing."""
        if view[0] != _TAG:
            raise RemoteProtocolError("grpc-message", f"protobuf tag {view[0]}")
        length = 0
        limit = min(self._message_left - 1, _MAX_VARINT_BYTES)
        for place, byte in enumerate(view[1 : 1 + limit]):
            length |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                self._message_left -= place + 2
                self._field_left = length
                if length > self._message_left:
                    raise RemoteProtocolError("grpc-message", "a field longer than its message")
                return place + 2
        if len(view) > limit:
            raise RemoteProtocolError("grpc-message", "a field without a length")
        return 0

    def _check_trailers(self, fields: dict[bytes, bytes]) -> None:
        """The status of the call, where the server tells it; 0 is success."""
        status = fields.get(b"grpc-status", b"0")
        if status != b"0":
            shown = status[:16].decode("latin-1")
            raise RemoteProtocolError("grpc-status", f"gRPC status {shown}")
