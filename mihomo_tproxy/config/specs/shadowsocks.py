"""`type: ss`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from mihomo_tproxy.config.specs.base import ServerSpec

DEFAULT_OBFS_HOST: Final = "bing.com"


@dataclass(frozen=True, slots=True)
class ObfsSpec:
    """`plugin: obfs` and `plugin-opts`."""

    mode: str
    """`http` or `tls`."""
    host: str = DEFAULT_OBFS_HOST
    """What the request claims to be for."""


@dataclass(frozen=True, slots=True)
class ShadowsocksSpec(ServerSpec):
    """A Shadowsocks server."""

    cipher: str = ""
    """The method, as its table spells it."""
    password: str = field(default="", repr=False)
    """Of a 2022 method base64 keys, identities first, with `:` between them."""
    obfs: ObfsSpec | None = None
    """For streams; datagrams are as they are."""
    udp_over_tcp: bool = False
    udp_over_tcp_version: int = 2
