"""`network: h2`: the payload as the bodies of one HTTP/2 request and its response (RFC 9113).

One connection carries one stream. What we say first, the preface, SETTINGS, a window and HEADERS,
is a constant of the proxy and leaves together with the first payload, as RFC 9113, 3.4 allows.
Our windows are so large that they never stop the server: TCP does that, for nothing is held here.
We allow no dynamic table of headers, so that a header block is read without its predecessors.
The server's windows are kept: what does not fit is held, and the layer blocked, until they grow;
that is one `seal`'s worth, capped by `MAX_HELD_BYTES` for those who seal nevertheless.

END_STREAM is the end of a direction; the wire stays open. Causes: those of `codec.h2frames`,
`h2-no-response`, `h2-status`, `h2-reset`, `h2-goaway`, `h2-truncated`, `h2-blocked`.
"""

from __future__ import annotations

from random import choice
from typing import TYPE_CHECKING, Final

from hpack import Decoder, HPACKError

from mihomo_tproxy.codec import h2frames as h2
from mihomo_tproxy.codec.layer import Layer
from mihomo_tproxy.errors import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from mihomo_tproxy.codec.layer import Buffer
    from mihomo_tproxy.config.specs.transport import H2Spec

OUR_WINDOW: Final = 1 << 30
OUR_MAX_FRAME: Final = 1 << 18
WINDOW_STEP: Final = 1 << 28
"""How much is received before the windows are refilled."""
MAX_HEADER_LIST_BYTES: Final = 65536
MAX_HELD_BYTES: Final = 256 * 1024
DEFAULT_USER_AGENT: Final = "Go-http-client/2.0"

_SETTINGS_ACK: Final = h2.encode_frame(h2.SETTINGS, h2.ACK, 0)
_END: Final = h2.data_head(0, h2.END_STREAM)
_REFUSED: Final = "h2-protocol"


def opening(headers: list[tuple[str, str]]) -> bytes:
    """All that precedes the payload of a request with these headers."""
    settings = (
        (h2.SETTINGS_HEADER_TABLE_SIZE, 0),
        (h2.SETTINGS_ENABLE_PUSH, 0),
        (h2.SETTINGS_INITIAL_WINDOW_SIZE, OUR_WINDOW),
        (h2.SETTINGS_MAX_FRAME_SIZE, OUR_MAX_FRAME),
        (h2.SETTINGS_MAX_HEADER_LIST_SIZE, MAX_HEADER_LIST_BYTES),
    )
    block = h2.encode_header_block(headers)
    first = h2.encode_frame(h2.HEADERS, 0, 1, block[: h2.DEFAULT_MAX_FRAME])
    rest = [
        h2.encode_frame(h2.CONTINUATION, 0, 1, block[at : at + h2.DEFAULT_MAX_FRAME])
        for at in range(h2.DEFAULT_MAX_FRAME, len(block), h2.DEFAULT_MAX_FRAME)
    ]
    frames = [bytearray(frame) for frame in (first, *rest)]
    frames[-1][4] |= h2.END_HEADERS
    return b"".join(
        (
            h2.PREFACE,
            h2.encode_settings(settings),
            h2.encode_window_update(0, OUR_WINDOW - h2.DEFAULT_WINDOW),
            *frames,
        )
    )


def h2_openings(spec: H2Spec, tls: bool) -> tuple[bytes, ...]:
    """The opening for each host; one is drawn for each connection."""
    return tuple(
        opening(
            [
                (":method", "PUT"),
                (":scheme", "https" if tls else "http"),
                (":path", spec.path),
                (":authority", host),
                ("accept-encoding", "identity"),
                ("user-agent", DEFAULT_USER_AGENT),
            ]
        )
        for host in spec.hosts
    )


class H2Layer(Layer):
    """The client's side of one request."""

    __slots__ = (
        *("_answered", "_connection_window", "_finishing", "_grown", "_held"),
        *("_initial_window", "_max_frame", "_opening", "_reader", "_stopped", "_stream_window"),
    )

    ends_below = False

    def __init__(self, openings: tuple[bytes, ...]) -> None:
        super().__init__()
        self._opening = openings[0] if len(openings) == 1 else choice(openings)  # noqa: S311
        """b"" once it was sent."""
        self._reader = h2.FrameReader()
        self._answered = False
        self._max_frame = h2.DEFAULT_MAX_FRAME
        self._initial_window = h2.DEFAULT_WINDOW
        self._stream_window = h2.DEFAULT_WINDOW
        self._connection_window = h2.DEFAULT_WINDOW
        self._grown = False
        """A window grew and what is held was not looked at since."""
        self._held = bytearray()
        self._finishing = False
        """END_STREAM was sent, or is to follow what is held."""
        self._stopped = False
        """The server has said everything and wants no more from us."""

    def feed(self, data: Buffer) -> Buffer:
        """Take frames; the payload in them.

        Raises:
            RemoteProtocolError: the server breaks the protocol, or refuses the request.
        """
        pieces = self._receive(data)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def feed_eof(self) -> None:
        """The wire ended.

        Raises:
            RemoteProtocolError: before the server has ended the stream.
        """
        if not self._answered:
            raise RemoteProtocolError("h2-no-response", "the connection ended before a response")
        if not self.ended:
            raise RemoteProtocolError("h2-truncated", "the connection ended before the stream")

    def seal(self, payload: Buffer) -> Buffer:
        """DATA frames, as far as the windows go; the first time behind the opening.

        Raises:
            LocalProtocolError: much more than the windows allow.
        """
        wire = self._send(payload)
        if self._opening:
            wire = self._opening + wire
            self._opening = b""
        return wire

    def finish(self) -> Buffer:
        """Ends the stream; behind what is held, that comes as output later."""
        if self._finishing or self._stopped:
            return b""
        self._finishing = True
        if self._held:
            return b""
        end = self._opening + _END
        self._opening = b""
        return end

    def _receive(self, data: Buffer) -> list[Buffer]:
        """The payload, in pieces."""
        pieces: list[Buffer] = []
        for kind, flags, stream, payload in self._reader.feed(data):
            if kind != h2.DATA:
                self._take(kind, flags, stream, payload)
                continue
            if self.ended or not self._answered:
                raise RemoteProtocolError(_REFUSED, "DATA before the response, or after its end")
            if payload:
                pieces.append(payload)
            if flags & h2.END_STREAM:
                self.ended = True
        if self._reader.received >= WINDOW_STEP:
            for stream in (0, 1):
                self.output += h2.encode_window_update(stream, self._reader.received)
            self._reader.received = 0
        if self._grown:
            self._release()
        if self.output and self._opening:  # a server may speak first
            self.output = self._opening + self.output
            self._opening = b""
        return pieces

    def _send(self, payload: Buffer) -> bytes:
        size = len(payload)
        if self._stopped or not size:
            return b""
        room = 0 if self._held else max(min(self._stream_window, self._connection_window), 0)
        if size > room:
            self._hold(memoryview(payload)[room:])
            payload, size = memoryview(payload)[:room], room
        self._stream_window -= size
        self._connection_window -= size
        self.blocked = self._stream_window <= 0 or self._connection_window <= 0
        if size <= self._max_frame:
            return h2.data_head(size) + payload if size else b""
        view = memoryview(payload)
        parts: list[Buffer] = []
        for at in range(0, size, self._max_frame):
            part = view[at : at + self._max_frame]
            parts += (h2.data_head(len(part)), part)
        return b"".join(parts)

    def _hold(self, payload: memoryview) -> None:
        if len(self._held) + len(payload) > MAX_HELD_BYTES:
            raise LocalProtocolError("h2-blocked", "payload beyond the server's windows")
        self._held += payload

    def _release(self) -> None:
        """Put out what the windows allow now."""
        self._grown = False
        room = min(self._stream_window, self._connection_window)
        if room <= 0:
            return
        self.blocked = False
        if not self._held:
            return
        ready = bytes(self._held[:room])
        rest, self._held = self._held, bytearray()
        del rest[:room]
        self.output += self._send(ready)
        self._held = rest
        if not rest and self._finishing:
            self.output += _END

    def _take(self, kind: int, flags: int, stream: int, payload: Buffer) -> None:
        """What a frame other than DATA tells us."""
        if kind == h2.HEADERS:
            self._take_headers(payload, bool(flags & h2.END_STREAM))
        elif kind == h2.SETTINGS:
            self._take_settings(flags, stream, payload)
        elif kind == h2.WINDOW_UPDATE:
            self._take_window_update(stream, payload)
        elif kind == h2.PING:
            if stream or len(payload) != 8:
                raise RemoteProtocolError(_REFUSED, "a PING that is none")
            if not flags & h2.ACK:
                self.output += h2.encode_frame(h2.PING, h2.ACK, 0, bytes(payload))
        elif kind == h2.RST_STREAM:
            self._take_reset(stream, payload)
        elif kind == h2.GOAWAY:
            self._take_goaway(payload)
        else:
            raise RemoteProtocolError(_REFUSED, f"frame type {kind} from a server")

    def _take_headers(self, block: Buffer, end: bool) -> None:
        try:
            fields = dict(Decoder(MAX_HEADER_LIST_BYTES).decode(bytes(block), raw=True))
        except HPACKError as error:
            raise RemoteProtocolError(_REFUSED, f"HPACK: {error}") from None
        if self.ended:
            raise RemoteProtocolError(_REFUSED, "HEADERS after the end")
        if not self._answered:
            status = fields.get(b":status", b"")
            if status[:1] == b"1" and not end:
                return
            if status != b"200":
                raise RemoteProtocolError("h2-status", f"status {status[:3]!r}")
            self._answered = True
        elif not end:
            raise RemoteProtocolError(_REFUSED, "trailers that end nothing")
        if end:
            self._check_trailers(fields)
            self.ended = True

    def _check_trailers(self, fields: dict[bytes, bytes]) -> None:
        """What the last HEADERS say; nothing here."""

    def _take_settings(self, flags: int, stream: int, payload: Buffer) -> None:
        if stream or (flags & h2.ACK and payload):
            raise RemoteProtocolError(_REFUSED, "SETTINGS that are none")
        if flags & h2.ACK:
            return
        for key, value in h2.parse_settings(payload):
            if key == h2.SETTINGS_INITIAL_WINDOW_SIZE:
                self._stream_window += value - self._initial_window
                self._initial_window = value
                self._check_windows(value)
            elif key == h2.SETTINGS_MAX_FRAME_SIZE:
                if not h2.DEFAULT_MAX_FRAME <= value <= h2.LARGEST_MAX_FRAME:
                    raise RemoteProtocolError(_REFUSED, f"SETTINGS_MAX_FRAME_SIZE {value}")
                self._max_frame = value
        self.output += _SETTINGS_ACK

    def _take_window_update(self, stream: int, payload: Buffer) -> None:
        increment = int.from_bytes(payload, "big") & h2.LARGEST_WINDOW
        if len(payload) != 4 or not increment or stream > 1:
            raise RemoteProtocolError(_REFUSED, "a WINDOW_UPDATE that is none")
        if stream:
            self._stream_window += increment
        else:
            self._connection_window += increment
        self._check_windows(0)

    def _check_windows(self, initial: int) -> None:
        if max(initial, self._stream_window, self._connection_window) > h2.LARGEST_WINDOW:
            raise RemoteProtocolError(_REFUSED, "a window above 2^31-1")
        self._grown = True

    def _take_reset(self, stream: int, payload: Buffer) -> None:
        code = int.from_bytes(payload, "big")
        if len(payload) != 4 or stream != 1:
            raise RemoteProtocolError(_REFUSED, "a RST_STREAM that is none")
        if not self.ended:
            raise RemoteProtocolError("h2-reset", f"error code {code}")
        self._stopped = True
        self.blocked = False
        self._held.clear()

    def _take_goaway(self, payload: Buffer) -> None:
        if len(payload) < 8:
            raise RemoteProtocolError(_REFUSED, "a GOAWAY that is none")
        last = int.from_bytes(payload[:4], "big") & h2.LARGEST_WINDOW
        code = int.from_bytes(payload[4:8], "big")
        if not self.ended and (code or last < 1):
            raise RemoteProtocolError("h2-goaway", f"error code {code}")
