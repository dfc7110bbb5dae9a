"""The header of a VMess response, sealed as the server seals it and as it comes."""

from __future__ import annotations

from support.vmess_peers import USER, profile
from support.vmess_server import open_request, response_header

from mihomo_tproxy.codec.vmess.layer import VmessLayer
from mihomo_tproxy.errors import ProtocolError


def target(data: bytes) -> None:
    """Nothing but a ProtocolError escapes, and a header holds back nothing behind it."""
    for sealed in (False, True):
        layer = VmessLayer(profile(), "example.com", 443)
        request = open_request(USER, bytes(layer.seal(b"")))
        wire = response_header(request, data[:300]) if sealed else data
        half = len(wire) // 2
        try:
            assert layer.feed(wire[:half]) == b""
            assert layer.feed(wire[half:]) == b""
            layer.feed_eof()
        except ProtocolError:
            pass
