"""`type: vmess`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mihomo_tproxy.config.specs.base import ServerSpec

if TYPE_CHECKING:
    from mihomo_tproxy.config.specs.tls import TlsSpec
    from mihomo_tproxy.config.specs.transport import TransportSpec


@dataclass(frozen=True, slots=True)
class VmessSpec(ServerSpec):
    """A VMess server with AEAD headers."""

    uuid: bytes = field(default=b"", repr=False)
    """The 16 bytes of the user's id."""
    cipher: str = "auto"
    """`auto`, `aes-128-gcm`, `chacha20-poly1305`, `none` or `zero`."""
    global_padding: bool = False
    authenticated_length: bool = False
    packet_encoding: str = ""
    """`xudp` or `packetaddr`; "": a stream for each remote."""
    tls: TlsSpec | None = None
    transport: TransportSpec | None = None
    """None is TCP, or TLS alone."""
