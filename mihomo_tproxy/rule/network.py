"""`NETWORK,tcp` and `NETWORK,udp`: the transport protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.model import fields
from mihomo_tproxy.model.enums import Network
from mihomo_tproxy.rule.base import BaseRule

if TYPE_CHECKING:
    from mihomo_tproxy.model.metadata import Metadata


class NetworkType(BaseRule):
    """Matches the transport protocol."""

    __slots__ = ("_network",)

    def __init__(self, kind: str, payload: str, target: str, options: frozenset[str]) -> None:
        super().__init__(kind, payload, target, fields.NETWORK)
        try:
            self._network = Network(payload.lower())
        except ValueError:
            raise ValueError(f"unsupported network {payload!r}, only tcp and udp") from None

    def match(self, metadata: Metadata) -> bool:
        return metadata.network == self._network
