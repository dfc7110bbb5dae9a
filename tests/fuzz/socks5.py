"""SOCKS5: both sides of the handshake, and datagrams."""

from __future__ import annotations

from mihomo_tproxy.codec.socks5 import (
    Socks5Server,
    encode_credentials,
    encode_request,
    encode_udp,
    parse_udp,
)
from mihomo_tproxy.codec.socks5_client import Socks5Associate, Socks5Connect
from mihomo_tproxy.errors import ProtocolError

CREDENTIALS = encode_credentials("user", "pass")


def target(data: bytes) -> None:
    """Nothing but a ProtocolError escapes; what is understood can be said again."""
    for side in (_server, _client, _association, _datagram):
        try:
            side(data)
        except ProtocolError:
            pass


def _server(data: bytes) -> None:
    server = Socks5Server((lambda user, _: len(user) < 9) if data[2:3] == b"\x02" else None)
    request = server.receive_data(data)
    if request is not None:
        assert data.endswith(server.early)
        assert len(encode_request(*request[:3])) <= len(data)


def _client(data: bytes) -> None:
    layer = Socks5Connect("example.com", 443, CREDENTIALS if data[1:2] == b"\x02" else b"")
    layer.begin()
    half = len(data) // 2
    payload = bytes(layer.feed(data[:half])) + bytes(layer.feed(data[half:]))
    assert data.endswith(payload)
    layer.feed_eof()


def _association(data: bytes) -> None:
    layer = Socks5Associate()
    layer.begin()
    assert layer.feed(data) == b""


def _datagram(data: bytes) -> None:
    host, port, start = parse_udp(data)
    again = encode_udp(data[start:], host, port)
    assert parse_udp(again)[:2] == (host, port)
