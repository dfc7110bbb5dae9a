"""What our engine decides for a flow, asked in this process: the rule's place in the list.

The relay tells which outbound a flow got; the rule behind it shows here, from the same file by the
same way of compiling it.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from support.differential.flow import STEERED
from support.differential.programs import LISTENERS
from support.differential.world import PASSING, WITHOUT_DATAGRAMS

from mihomo_tproxy.config import load
from mihomo_tproxy.config.compiling import conditional_targets
from mihomo_tproxy.errors import NeedsAddress
from mihomo_tproxy.model.enums import InboundType, Network
from mihomo_tproxy.model.metadata import RequestMetadata
from mihomo_tproxy.rule.engine import Engine
from mihomo_tproxy.rule.flatten import build_image
from mihomo_tproxy.rule.image import Image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from support.differential.flow import Flow

    from mihomo_tproxy.rig import Rig


class InProcess:
    """The engine of one file."""

    def __init__(
        self,
        rig: Rig,
        home: Path,
        names: Mapping[str, Sequence[str]],
        hosts: Mapping[str, str],
    ) -> None:
        config = load(str(home / "config.yaml"))
        self._engine = Engine(Image(build_image(config.rules, conditional_targets(config))))
        self._rig = rig
        self._names = names
        self._hosts = hosts

    def rule(self, flow: Flow) -> int | None:
        """The place of the rule that decides; None if none does."""
        metadata = self._metadata(flow)

        def usable(target: str) -> bool:
            return target not in PASSING and not (
                flow.network == "udp" and target in WITHOUT_DATAGRAMS
            )

        try:
            rank = self._engine.match_usable(metadata, usable).rank
        except NeedsAddress:
            metadata.resolved = next(iter(self._names.get(metadata.host, ())), "")
            rank = self._engine.match_usable(metadata, usable).rank
        return None if rank < 0 else self._engine.line_number(rank)

    def _metadata(self, flow: Flow) -> RequestMetadata:
        name, address = flow.host.rstrip(".").lower(), ""
        try:
            name, address = "", str(ipaddress.ip_address(name))
        except ValueError:
            while not address and name in self._hosts:
                if self._hosts[name][0].isdigit():
                    address = self._hosts[name]
                else:
                    name = self._hosts[name]
        metadata = RequestMetadata(
            Network(flow.network),
            InboundType.TPROXY,
            self._rig.clients[flow.client].address(flow.version),
            flow.source_port,
            address,
            flow.port,
            name,
        )
        if flow.listener == STEERED:
            # As in mihomo, of datagrams alone.
            metadata.dscp = flow.dscp if flow.network == "udp" else 0
        else:
            listener = LISTENERS[flow.listener]
            metadata.inbound = InboundType.HTTPS if listener.http else InboundType.SOCKS5
            metadata.inbound_name, metadata.inbound_port = flow.listener, listener.port
            metadata.inbound_user = flow.user if flow.network == "tcp" else ""
        return metadata
