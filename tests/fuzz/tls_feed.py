"""What a TLS server sends, before and after the handshake."""

from __future__ import annotations

from functools import cache

from support.tls import TlsPeer, server_context, shake_hands

from mihomo_tproxy.config.specs.tls import TlsSpec
from mihomo_tproxy.errors import ProtocolError
from mihomo_tproxy.transport.tls import MAX_RECORD, TlsClient


@cache
def _client() -> TlsClient:
    return TlsClient(TlsSpec(server_name="proxy.test", skip_cert_verify=True))


@cache
def _context():
    return server_context()


def target(data: bytes) -> None:
    """Nothing but a ProtocolError escapes; less than a record is held, and forged ones are not
    payload. The first byte chooses how far the handshake has come."""
    layer = _client().layer()
    if data[:1] < b"\x80":
        layer.begin()
    else:
        shake_hands(layer, TlsPeer(_context()))
    payload = b""
    try:
        for start in range(1, len(data), MAX_RECORD):
            payload += layer.feed(data[start : start + MAX_RECORD])
            assert layer._incoming.pending <= MAX_RECORD + 2048
        layer.feed_eof()
    except ProtocolError:
        pass
    assert payload == b""
