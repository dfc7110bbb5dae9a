"""TLS as proxies configure it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TlsSpec:
    """The client's side of TLS towards one server."""

    server_name: str = ""
    """SNI, and the name the certificate must carry. mihomo: `sni` or `servername`, by type; the
    parser falls back to what mihomo falls back to (the server, or the WebSocket Host)."""
    alpn: tuple[str, ...] = ()
    skip_cert_verify: bool = False
    name_cert_verify: str = ""
    """The name the certificate must carry instead, even with `skip_cert_verify` as in mihomo; "":
    `server_name`."""
    fingerprint: bytes = b""
    """SHA-256 of a certificate of the server's chain. The server's own: it alone is accepted,
    whatever it says. Another: the chain must lead to it. b"": the host's authorities decide."""
    certificate: str = ""
    """PEM text, what we show when asked; the parser reads files."""
    private_key: str = field(default="", repr=False)
    """PEM text, unencrypted."""
