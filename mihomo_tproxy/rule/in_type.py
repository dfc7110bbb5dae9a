"""`IN-TYPE`: how a flow reached us, one or several with `/` between them.

The words are mihomo's. Those of inbounds that do not exist here are read and match nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mihomo_tproxy.model import fields
from mihomo_tproxy.model.enums import InboundType
from mihomo_tproxy.rule.base import BaseRule
from mihomo_tproxy.rule.words import parse_words

if TYPE_CHECKING:
    from mihomo_tproxy.model.metadata import Metadata

WORDS: Final[dict[str, frozenset[InboundType]]] = {
    "HTTP": frozenset({InboundType.HTTP}),
    "HTTPS": frozenset({InboundType.HTTPS}),
    "SOCKS": frozenset({InboundType.SOCKS4, InboundType.SOCKS5}),
    "SOCKS4": frozenset({InboundType.SOCKS4}),
    "SOCKS5": frozenset({InboundType.SOCKS5}),
    "REDIR": frozenset({InboundType.REDIR}),
    "TPROXY": frozenset({InboundType.TPROXY}),
    "INNER": frozenset({InboundType.INNER}),
}
OTHER_WORDS: Final = frozenset(
    {
        *("ANYTLS", "HYSTERIA2", "MIERU", "SHADOWSOCKS", "SNELL", "SUDOKU", "TROJAN"),
        *("TRUSTTUNNEL", "TUIC", "TUN", "TUNNEL", "VLESS", "VMESS"),
    }
)
"""Inbounds of mihomo that this program does not have."""


class InType(BaseRule):
    """Matches the kind of inbound."""

    __slots__ = ("_types",)

    def __init__(self, kind: str, payload: str, target: str, options: frozenset[str]) -> None:
        super().__init__(kind, payload, target, fields.INBOUND)
        types: set[InboundType] = set()
        for word in parse_words(payload, "inbound type"):
            found = WORDS.get(word.upper())
            if found is not None:
                types |= found
            elif word.upper() not in OTHER_WORDS:
                raise ValueError(f"unknown inbound type {word!r}, one of {', '.join(WORDS)}")
        self._types = frozenset(types)

    def match(self, metadata: Metadata) -> bool:
        return metadata.inbound in self._types
