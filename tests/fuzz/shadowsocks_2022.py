"""A stream of SIP022: bytes of anybody, and headers of a server that says anything."""

from __future__ import annotations

from support.shadowsocks import Response, profile

from mihomo_tproxy.codec.shadowsocks.aead2022 import Aead2022Stream
from mihomo_tproxy.codec.shadowsocks.records import MAX_PAYLOAD_2022, RECORD_BYTES
from mihomo_tproxy.errors import ProtocolError

PROFILE = profile("2022-blake3-aes-128-gcm")
FIXED_BYTES = 27


def target(data: bytes) -> None:
    """Nothing but a ProtocolError escapes, and little is held."""
    _feed(data, sealed=False)
    _feed(data, sealed=True)


def _feed(data: bytes, *, sealed: bool) -> None:
    layer = Aead2022Stream(PROFILE, "example.com", 443)
    layer.seal(b"")
    pieces = [data[:30], data[30:]]
    if sealed:
        server = Response(PROFILE, layer._salt)
        fixed = data[:FIXED_BYTES].ljust(FIXED_BYTES, b"\0")
        whole = server.salt + server.cipher.seal(fixed) + server.cipher.seal(data[FIXED_BYTES:])
        good = Response(PROFILE, layer._salt).seal(data[:1000]) + data
        pieces = [good] if data[:1] < b"\x80" else [whole]
    try:
        for piece in pieces:
            layer.feed(piece)
            held = layer._opener._held if layer._opener is not None else layer._held
            assert len(held) < MAX_PAYLOAD_2022 + RECORD_BYTES
        layer.feed_eof()
    except ProtocolError:
        pass
