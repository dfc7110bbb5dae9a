"""`type: vless`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mihomo_tproxy.config.specs.base import ServerSpec

if TYPE_CHECKING:
    from mihomo_tproxy.config.specs.tls import TlsSpec
    from mihomo_tproxy.config.specs.transport import TransportSpec


@dataclass(frozen=True, slots=True)
class VlessSpec(ServerSpec):
    """A VLESS server."""

    uuid: bytes = field(default=bytes(16), repr=False)
    """The user id; a text that is no UUID is mapped to one."""
    packet_encoding: str = "xudp"
    """`xudp`, `packetaddr`, or "": one remote for each stream."""
    tls: TlsSpec | None = None
    transport: TransportSpec | None = None
    """None is TLS alone, or plain TCP."""
