"""SOCKS4 and SOCKS4a, the server's side."""

from __future__ import annotations

from mihomo_tproxy.codec.socks4 import MAX_REQUEST_BYTES, Socks4Server
from mihomo_tproxy.errors import ProtocolError


def target(data: bytes) -> None:
    """Nothing but a ProtocolError escapes, and nothing longer than a request is waited for."""
    server = Socks4Server(lambda user, _: len(user) < 9)
    half = len(data) // 2
    try:
        request = server.receive_data(data[:half]) or server.receive_data(data[half:])
    except ProtocolError:
        return
    if request is None:
        assert len(data) < MAX_REQUEST_BYTES
    else:
        assert len(server.early) <= len(data) - 9
