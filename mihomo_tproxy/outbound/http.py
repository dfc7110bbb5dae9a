"""`type: http`: CONNECT through an HTTP proxy, with or without TLS to it. No datagrams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.codec.http_connect import ConnectFields, HttpConnect
from mihomo_tproxy.outbound.proxy import ProxyOutbound
from mihomo_tproxy.transport.carrier import carrier_of

if TYPE_CHECKING:
    from mihomo_tproxy.codec.layer import Layer
    from mihomo_tproxy.config.specs.http import HttpProxySpec
    from mihomo_tproxy.outbound.base import PacketSink
    from mihomo_tproxy.outbound.env import OutboundEnv
    from mihomo_tproxy.transport.carrier import Carrier


class Http(ProxyOutbound):
    """One HTTP proxy."""

    def __init__(self, env: OutboundEnv, spec: HttpProxySpec, carrier: Carrier) -> None:
        super().__init__(env, spec, carrier)
        self.udp = False
        self._fields = ConnectFields(spec.username, spec.password, spec.headers)

    def stream_layers(self, host: str, port: int) -> list[Layer]:
        """A CONNECT to a destination.

        Raises:
            LocalProtocolError: no host that HTTP can name.
        """
        return [HttpConnect(self._fields, host, port)]

    def open_udp(self, sink: PacketSink) -> None:
        """No link: HTTP proxies carry no datagrams."""


def build(spec: HttpProxySpec, env: OutboundEnv) -> Http:
    """The outbound of an entry."""
    return Http(env, spec, carrier_of(spec.tls))
