"""VLESS: streams; datagrams of any number of remotes over one stream, or of one remote each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.codec.packet_addr import MAGIC_HOST, MAGIC_PORT
from mihomo_tproxy.codec.vless import (
    MUX,
    TCP,
    UDP,
    VlessLayer,
    VlessPacketAddr,
    VlessPackets,
    encode_request,
)
from mihomo_tproxy.codec.xudp import XudpLayer
from mihomo_tproxy.outbound.proxy import ProxyOutbound
from mihomo_tproxy.transport.carrier import carrier_to

if TYPE_CHECKING:
    from mihomo_tproxy.codec.layer import Layer
    from mihomo_tproxy.config.specs.vless import VlessSpec
    from mihomo_tproxy.outbound.env import OutboundEnv


def build(spec: VlessSpec, env: OutboundEnv) -> Vless:
    """The outbound of an entry."""
    return Vless(env, spec)


class Vless(ProxyOutbound):
    """One VLESS server."""

    def __init__(self, env: OutboundEnv, spec: VlessSpec) -> None:
        super().__init__(env, spec, carrier_to(spec.server, spec.port, spec.tls, spec.transport))
        self._user_id = spec.uuid
        self._packet_encoding = spec.packet_encoding
        self.packet_per_destination = not spec.packet_encoding
        self._xudp_request = encode_request(spec.uuid, MUX)
        self._packet_addr_request = encode_request(spec.uuid, UDP, MAGIC_HOST, MAGIC_PORT)

    def stream_layers(self, host: str, port: int) -> list[Layer]:
        """The request.

        Raises:
            LocalProtocolError: the host cannot be written.
        """
        return [VlessLayer(encode_request(self._user_id, TCP, host, port))]

    def packet_layers(self, host: str, port: int) -> list[Layer]:
        """The request for datagrams, and their frames.

        Raises:
            LocalProtocolError: the host cannot be written.
        """
        if self._packet_encoding == "xudp":
            return [VlessLayer(self._xudp_request), XudpLayer()]
        if self._packet_encoding == "packetaddr":
            return [VlessLayer(self._packet_addr_request), VlessPacketAddr()]
        return [
            VlessLayer(encode_request(self._user_id, UDP, host, port)),
            VlessPackets(host, port),
        ]
