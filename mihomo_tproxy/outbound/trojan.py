"""Trojan: streams, and datagrams of any number of remotes over one stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.codec.trojan import TrojanPackets, TrojanStream, trojan_key
from mihomo_tproxy.outbound.proxy import ProxyOutbound
from mihomo_tproxy.transport.carrier import carrier_to

if TYPE_CHECKING:
    from mihomo_tproxy.codec.layer import Layer
    from mihomo_tproxy.config.specs.trojan import TrojanSpec
    from mihomo_tproxy.outbound.env import OutboundEnv


def build(spec: TrojanSpec, env: OutboundEnv) -> Trojan:
    """The outbound of an entry."""
    return Trojan(env, spec)


class Trojan(ProxyOutbound):
    """One Trojan server."""

    def __init__(self, env: OutboundEnv, spec: TrojanSpec) -> None:
        carrier = carrier_to(spec.server, spec.port, spec.tls, spec.transport)
        super().__init__(env, spec, carrier)
        self._key = trojan_key(spec.password)

    def stream_layers(self, host: str, port: int) -> list[Layer]:
        """The request.

        Raises:
            LocalProtocolError: the host cannot be written.
        """
        return [TrojanStream(self._key, host, port)]

    def packet_layers(self, host: str, port: int) -> list[Layer]:
        """The request for datagrams.

        Raises:
            LocalProtocolError: the host cannot be written.
        """
        return [TrojanPackets(self._key, host, port)]
