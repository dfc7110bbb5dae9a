"""`type: socks5`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mihomo_tproxy.config.specs.base import ServerSpec

if TYPE_CHECKING:
    from mihomo_tproxy.config.specs.tls import TlsSpec


@dataclass(frozen=True, slots=True)
class Socks5Spec(ServerSpec):
    """A SOCKS5 server."""

    username: str = ""
    """"" asks for no authentication."""
    password: str = field(default="", repr=False)
    tls: TlsSpec | None = None
    """None: plain TCP. Datagrams are plain either way."""
