"""All servers with all their rows."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from support.interop.mihomo import mihomo
from support.interop.sing_box import sing_box
from support.interop.single import single_servers
from support.interop.v2ray import v2ray

if TYPE_CHECKING:
    from support.interop.rows import Peer, Row


@cache
def all_peers() -> dict[str, Peer]:
    """By name."""
    return {peer.name: peer for peer in (sing_box(), mihomo(), v2ray(), *single_servers())}


def all_rows() -> list[Row]:
    """In the order of the table."""
    return [row for peer in all_peers().values() for row in peer.rows]
