"""VMess: streams, and datagrams of one remote or of any number over one stream."""

from __future__ import annotations

from os import urandom
from time import time
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.codec.vmess.header import Account, Security
from mihomo_tproxy.codec.vmess.layer import (
    Profile,
    VmessLayer,
    VmessPacketAddrLayer,
    VmessPacketLayer,
)
from mihomo_tproxy.codec.xudp import XudpLayer
from mihomo_tproxy.outbound.proxy import ProxyOutbound
from mihomo_tproxy.transport.building import transport_factory
from mihomo_tproxy.transport.carrier import carrier_of

if TYPE_CHECKING:
    from mihomo_tproxy.codec.layer import Layer
    from mihomo_tproxy.config.specs.vmess import VmessSpec
    from mihomo_tproxy.outbound.env import OutboundEnv
    from mihomo_tproxy.transport.carrier import Carrier

_SECURITIES: Final = {
    "aes-128-gcm": Security.AES_128_GCM,
    "chacha20-poly1305": Security.CHACHA20_POLY1305,
    "none": Security.NONE,
    "zero": Security.NONE,
}
_CPU: Final = "/proc/cpuinfo"


def build(spec: VmessSpec, env: OutboundEnv) -> Vmess:
    """The outbound of an entry.

    Raises:
        ssl.SSLError: certificate and private key cannot be used.
    """
    transport = None
    if spec.transport is not None:
        name = spec.tls.server_name if spec.tls is not None else spec.server
        transport = transport_factory(spec.transport, name, spec.port, spec.tls is not None)
    return Vmess(env, spec, carrier_of(spec.tls, transport))


class Vmess(ProxyOutbound):
    """One VMess server."""

    def __init__(self, env: OutboundEnv, spec: VmessSpec, carrier: Carrier) -> None:
        super().__init__(env, spec, carrier)
        self._profile = Profile(
            Account(spec.uuid),
            security_of(spec.cipher),
            spec.global_padding,
            spec.authenticated_length,
            time,
            urandom,
        )
        self._packet_encoding = spec.packet_encoding
        self.packet_per_destination = not spec.packet_encoding

    def stream_layers(self, host: str, port: int) -> list[Layer]:
        """A stream to a destination.

        Raises:
            LocalProtocolError: the host cannot be written.
        """
        return [VmessLayer(self._profile, host, port)]

    def packet_layers(self, host: str, port: int) -> list[Layer]:
        """A stream of datagrams.

        Raises:
            LocalProtocolError: the host cannot be written.
        """
        if self._packet_encoding == "xudp":
            return [VmessLayer(self._profile, "", 0), XudpLayer()]
        if self._packet_encoding == "packetaddr":
            return [VmessPacketAddrLayer(self._profile)]
        return [VmessPacketLayer(self._profile, host, port)]


def security_of(cipher: str, cpu: str = _CPU) -> Security:
    """What encrypts bodies; `auto` is AES where the processor has instructions for it."""
    if cipher != "auto":
        return _SECURITIES[cipher]
    try:
        with open(cpu, encoding="ascii", errors="replace") as file:
            has_aes = "aes" in file.read().split()
    except OSError:
        has_aes = False
    return Security.AES_128_GCM if has_aes else Security.CHACHA20_POLY1305
