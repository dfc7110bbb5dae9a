"""Datagrams of all methods: bytes of anybody, and of a server that says anything."""

from __future__ import annotations

from support.shadowsocks import METHODS, NOW, profile

from mihomo_tproxy.codec.shadowsocks.aead2022 import TYPE_RESPONSE
from mihomo_tproxy.codec.shadowsocks.editions import packet_codec
from mihomo_tproxy.codec.shadowsocks.udp import AeadPackets, parse_packet
from mihomo_tproxy.codec.shadowsocks.udp2022 import AesPackets
from mihomo_tproxy.errors import ProtocolError

PROFILES = [profile(name) for name in METHODS]


def target(data: bytes) -> None:
    """Nothing but a ProtocolError escapes, and no datagram is longer than what came."""
    for shared in PROFILES:
        _open(lambda codec: codec.open(data), packet_codec(shared), data)
    _open(lambda codec: parse_packet(data, 0), AeadPackets(PROFILES[0]), data)
    codec = AesPackets(profile("2022-blake3-aes-128-gcm"))
    session = codec._session(b"server-1")
    head = bytes((TYPE_RESPONSE,)) + NOW.to_bytes(8, "big") + codec._identity
    for plain in (data, head + data):
        _open(lambda codec, plain=plain: codec._accept(session, 1, plain, 0), codec, plain)


def _open(take, codec, data: bytes) -> None:
    try:
        packet = take(codec)
    except ProtocolError:
        return
    assert len(packet.data) <= len(data)
