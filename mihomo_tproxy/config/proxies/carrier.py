"""TLS and `network` together, as VLESS and VMess have them.

Each network has its protocol in TLS, whatever `alpn` says: a server that is free to choose HTTP/2
would not understand a WebSocket.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.config.proxies.tls import parse_switched_tls
from mihomo_tproxy.config.proxies.transport import OPTIONS, bracketed, parse_transport
from mihomo_tproxy.config.specs.transport import GrpcSpec, H2Spec, WebSocketSpec

if TYPE_CHECKING:
    from mihomo_tproxy.config.section import Section
    from mihomo_tproxy.config.specs.tls import TlsSpec
    from mihomo_tproxy.config.specs.transport import TransportSpec

NETWORKS: Final = tuple(OPTIONS)
_ALPN: Final = {WebSocketSpec: ("http/1.1",), H2Spec: ("h2",), GrpcSpec: ("h2",)}


def parse_carrier(section: Section, server: str) -> tuple[TlsSpec | None, TransportSpec | None]:
    """What carries an entry of `server`: TLS and transport, each None without."""
    transport = parse_transport(section, server, NETWORKS)
    name = _host_header(transport, server) or server
    tls = parse_switched_tls(section, name, name_key="servername")
    alpn = _ALPN.get(type(transport))
    if tls is None or alpn is None:
        return tls, transport
    if tls.alpn and tls.alpn != alpn:
        network = section.text("network").lower()
        section.report.warning(section.where("alpn"), f"ignored: {network} has {alpn[0]!r}")
    return replace(tls, alpn=alpn), transport


def _host_header(transport: TransportSpec | None, server: str) -> str:
    """The Host that a WebSocket's options name, which TLS asks for too; "" where they do not."""
    if not isinstance(transport, WebSocketSpec):
        return ""
    host = next(value for name, value in transport.headers if name.lower() == "host")
    return "" if host == bracketed(server) else host
