"""A transport's configuration made into what gives each connection its layer."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mihomo_tproxy.config.specs.transport import GrpcSpec, HttpSpec, WebSocketSpec
from mihomo_tproxy.transport.grpc import GrpcLayer, grpc_opening
from mihomo_tproxy.transport.h2 import H2Layer, h2_openings
from mihomo_tproxy.transport.http import HttpLayer, HttpRequest
from mihomo_tproxy.transport.httpupgrade import HttpUpgradeLayer
from mihomo_tproxy.transport.upgrade import UpgradeRequest
from mihomo_tproxy.transport.websocket import WebSocketLayer

if TYPE_CHECKING:
    from collections.abc import Callable

    from mihomo_tproxy.codec.layer import Layer
    from mihomo_tproxy.config.specs.transport import TransportSpec


def transport_factory(
    spec: TransportSpec, server: str, port: int, tls: bool
) -> Callable[[], Layer]:
    """What makes a layer for a new connection.

    Args:
        spec: the transport.
        server: the name the server goes by: the one in TLS if there is one, else the address.
        port: the server's.
        tls: whether TLS is below.
    """
    if isinstance(spec, WebSocketSpec):
        request = UpgradeRequest(spec)
        if spec.http_upgrade:
            return partial(HttpUpgradeLayer, request, spec.http_upgrade_fast_open)
        return partial(WebSocketLayer, request)
    if isinstance(spec, HttpSpec):
        return partial(HttpLayer, HttpRequest(spec))
    if isinstance(spec, GrpcSpec):
        return partial(GrpcLayer, grpc_opening(spec, server, port, tls))
    return partial(H2Layer, h2_openings(spec, tls))
