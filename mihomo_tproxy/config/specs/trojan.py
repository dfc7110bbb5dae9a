"""`type: trojan`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mihomo_tproxy.config.specs.base import ServerSpec
from mihomo_tproxy.config.specs.tls import TlsSpec

if TYPE_CHECKING:
    from mihomo_tproxy.config.specs.transport import TransportSpec


@dataclass(frozen=True, slots=True)
class TrojanSpec(ServerSpec):
    """A Trojan server."""

    password: str = field(default="", repr=False)
    tls: TlsSpec = field(default_factory=TlsSpec)
    transport: TransportSpec | None = None
    """WebSocket or gRPC; None is TLS alone."""
