"""Which layer and which datagrams go with which method."""

from __future__ import annotations

import pytest
from support.shadowsocks import NEW_NAMES, OLD_NAMES, profile

from mihomo_tproxy.codec.shadowsocks.aead import AeadStream
from mihomo_tproxy.codec.shadowsocks.aead2022 import Aead2022Stream
from mihomo_tproxy.codec.shadowsocks.editions import packet_codec, stream_layer
from mihomo_tproxy.codec.shadowsocks.plain import PlainStream
from mihomo_tproxy.codec.shadowsocks.udp import AeadPackets, PlainPackets
from mihomo_tproxy.codec.shadowsocks.udp2022 import AesPackets, ChaChaPackets


@pytest.mark.parametrize(
    ("names", "stream", "packets"),
    [
        (OLD_NAMES, AeadStream, AeadPackets),
        (NEW_NAMES[:2], Aead2022Stream, AesPackets),
        (NEW_NAMES[2:], Aead2022Stream, ChaChaPackets),
        (["none"], PlainStream, PlainPackets),
    ],
)
def test_by_method(names: list[str], stream: type, packets: type) -> None:
    for name in names:
        assert type(stream_layer(profile(name), "192.0.2.1", 1)) is stream
        assert type(packet_codec(profile(name))) is packets
