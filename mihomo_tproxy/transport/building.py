"""A transport's configuration made into what gives each connection its layer."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mihomo_tproxy.config.specs.transport import GrpcSpec, HttpSpec, WebSocketSpec

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
    # Each transport is imported where it is used: HPACK and hashes are megabytes.
    if isinstance(spec, WebSocketSpec):
        return _upgrade_factory(spec)
    if isinstance(spec, HttpSpec):
        from mihomo_tproxy.transport.http import HttpLayer, HttpRequest

        return partial(HttpLayer, HttpRequest(spec))
    if isinstance(spec, GrpcSpec):
        from mihomo_tproxy.transport.grpc import GrpcLayer, grpc_opening

        return partial(GrpcLayer, grpc_opening(spec, server, port, tls))
    from mihomo_tproxy.transport.h2 import H2Layer, h2_openings

    return partial(H2Layer, h2_openings(spec, tls))


def _upgrade_factory(spec: WebSocketSpec) -> Callable[[], Layer]:
    from mihomo_tproxy.transport.upgrade import UpgradeRequest

    request = UpgradeRequest(spec)
    if spec.http_upgrade:
        from mihomo_tproxy.transport.httpupgrade import HttpUpgradeLayer

        return partial(HttpUpgradeLayer, request, spec.http_upgrade_fast_open)
    from mihomo_tproxy.transport.websocket import WebSocketLayer

    return partial(WebSocketLayer, request)
