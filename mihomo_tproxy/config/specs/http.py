"""`type: http`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mihomo_tproxy.config.specs.base import ServerSpec

if TYPE_CHECKING:
    from mihomo_tproxy.config.specs.tls import TlsSpec


@dataclass(frozen=True, slots=True)
class HttpProxySpec(ServerSpec):
    """An HTTP proxy that takes CONNECT."""

    username: str = ""
    password: str = field(default="", repr=False)
    headers: tuple[tuple[str, str], ...] = ()
    """Sent with every CONNECT, in file order; `Host` takes the place of the destination there."""
    tls: TlsSpec | None = None
    """None: plain TCP."""
