"""The layer and the datagrams that go with a profile's method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mihomo_tproxy.codec.shadowsocks.aead import AeadStream
from mihomo_tproxy.codec.shadowsocks.aead2022 import Aead2022Stream
from mihomo_tproxy.codec.shadowsocks.ciphers import Edition
from mihomo_tproxy.codec.shadowsocks.plain import PlainStream
from mihomo_tproxy.codec.shadowsocks.udp import AeadPackets, PlainPackets
from mihomo_tproxy.codec.shadowsocks.udp2022 import AesPackets, ChaChaPackets

if TYPE_CHECKING:
    from mihomo_tproxy.codec.layer import Buffer, Layer, Packet
    from mihomo_tproxy.codec.shadowsocks.profile import Profile


class PacketCodec(Protocol):
    """One client port's datagrams through one server."""

    def seal(self, data: Buffer, host: str, port: int) -> Buffer:
        """The wire's datagram of one of ours.

        Raises:
            LocalProtocolError: the host cannot be written.
        """

    def open(self, data: Buffer) -> Packet:
        """Our datagram of one of the wire's.

        Raises:
            RemoteProtocolError: it is none, or none for us.
        """


def stream_layer(profile: Profile, host: str, port: int) -> Layer:
    """A stream to a destination.

    Raises:
        LocalProtocolError: the host cannot be written.
    """
    edition = profile.method.edition
    if edition is Edition.AEAD:
        return AeadStream(profile, host, port)
    if edition is Edition.AEAD_2022:
        return Aead2022Stream(profile, host, port)
    return PlainStream(host, port)


def packet_codec(profile: Profile) -> PacketCodec:
    """The datagrams of a new session."""
    edition = profile.method.edition
    if edition is Edition.AEAD:
        return AeadPackets(profile)
    if edition is Edition.AEAD_2022:
        return AesPackets(profile) if profile.method.aes else ChaChaPackets(profile)
    return PlainPackets()
