"""Responses of simple-obfs."""

from __future__ import annotations

from mihomo_tproxy.errors import ProtocolError
from mihomo_tproxy.transport.obfs import HttpObfs, TlsObfs

GREETING = b"\x16\x03\x01\0\x01x\x14\x03\x03\0\x01x"


def target(data: bytes) -> None:
    """Nothing but a ProtocolError escapes, in one piece and in two it is the same."""
    for before in (b"", GREETING):
        wire = before + data
        for make in (_http, _tls):
            assert _outcome(make(), [wire]) == _outcome(make(), [wire[:7], wire[7:]])


def _http() -> HttpObfs:
    return HttpObfs("bing.com", 80, bytes)


def _tls() -> TlsObfs:
    return TlsObfs("bing.com", lambda: 0.0, bytes)


def _outcome(layer: HttpObfs | TlsObfs, chunks: list[bytes]) -> bytes | str:
    try:
        payload = b"".join([bytes(layer.feed(chunk)) for chunk in chunks])
        layer.feed_eof()
    except ProtocolError as error:
        return error.cause
    return payload
