"""A stream of SIP004: bytes of anybody, and records of a server that says anything."""

from __future__ import annotations

from support.shadowsocks import Response, profile

from mihomo_tproxy.codec.shadowsocks.aead import AeadStream
from mihomo_tproxy.codec.shadowsocks.records import MAX_PAYLOAD, RECORD_BYTES
from mihomo_tproxy.errors import ProtocolError

PROFILE = profile("aes-128-gcm")


def target(data: bytes) -> None:
    """Nothing but a ProtocolError escapes, and little is held."""
    _feed([data[:20], data[20:]])
    # A length that fits or does not, and whatever follows.
    server = Response(PROFILE, b"")
    wire = server.salt + server.cipher.seal(data[:2].rjust(2, b"\0")) + server.cipher.seal(data[2:])
    _feed([wire[:40], wire[40:], data])


def _feed(pieces: list[bytes]) -> None:
    layer = AeadStream(PROFILE, "example.com", 443)
    layer.seal(b"")
    try:
        for piece in pieces:
            layer.feed(piece)
            held = layer._opener._held if layer._opener is not None else layer._held
            assert len(held) < MAX_PAYLOAD + RECORD_BYTES
        layer.feed_eof()
    except ProtocolError:
        pass
