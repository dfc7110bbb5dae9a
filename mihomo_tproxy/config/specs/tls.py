"""TLS as proxies configure it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TlsSpec:
    """The client's side of TLS towards one server."""

    server_name: str = ""
    """SNI, and the name the certificate must carry. mihomo: `sni` or `servername`, by type; the
    parser falls back to what mihomo falls back to (the server, or the WebSocket Host)."""
    alpn: tuple[str, ...] = ()
    skip_cert_verify: bool = False
    fingerprint: bytes = b""
    """SHA-256 of the one certificate to accept, in the chain's place; b"": the chain decides."""
    certificate: str = ""
    """PEM text, or the path of a PEM file: what we show when asked."""
    private_key: str = ""
