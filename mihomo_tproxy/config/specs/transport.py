"""`network`: what carries Trojan, VLESS and VMess above TLS or plain TCP."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WebSocketSpec:
    """`network: ws` and `ws-opts`."""

    path: str = "/"
    headers: tuple[tuple[str, str], ...] = ()
    """With `Host` unless it is the server's."""
    max_early_data: int = 0
    early_data_header_name: str = ""
    """"" with early data: it goes into the path, as v2ray does."""
    http_upgrade: bool = False
    """`v2ray-http-upgrade`: after the handshake there are no frames."""
    http_upgrade_fast_open: bool = False
    """`v2ray-http-upgrade-fast-open`: payload does not wait for the response."""


@dataclass(frozen=True, slots=True)
class HttpSpec:
    """`network: http` and `http-opts`: an HTTP/1.1 request head before a raw stream."""

    method: str = "GET"
    paths: tuple[str, ...] = ("/",)
    headers: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class H2Spec:
    """`network: h2` and `h2-opts`."""

    hosts: tuple[str, ...] = ()
    path: str = "/"


@dataclass(frozen=True, slots=True)
class GrpcSpec:
    """`network: grpc` and `grpc-opts`."""

    service_name: str = "GunService"
    user_agent: str = ""


TransportSpec = WebSocketSpec | HttpSpec | H2Spec | GrpcSpec
