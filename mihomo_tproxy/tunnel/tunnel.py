"""The tunnel: names the flow, asks the rules, hands it to an outbound, tells the kernel.

    inbound -> Metadata -> engine.match -> outbound -> relay
                                \\-> verdicts.learn, so that the next such flow need not come up

Verdicts are learnt from transparent flows alone: the kernel sees no others. The engines,
`outbounds` and `verdicts` may be replaced at any time between two events: a reload changes what new
flows meet, and old flows live on as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mihomo_tproxy.model.enums import InboundType, Network, Verdict
from mihomo_tproxy.model.metadata import Metadata
from mihomo_tproxy.outbound.opening import turn_away
from mihomo_tproxy.tunnel.nat import UDP_TIMEOUT_S, NatTable
from mihomo_tproxy.tunnel.verdicts import NullVerdictMap

if TYPE_CHECKING:
    from socket import SocketType

    from mihomo_tproxy.model.interfaces import RuleEngine, VerdictMap
    from mihomo_tproxy.net.relay import RelayContext
    from mihomo_tproxy.net.sockopt import SocketAddress
    from mihomo_tproxy.outbound.base import Answer, Outbound
    from mihomo_tproxy.outbound.registry import OutboundRegistry

FLOW_LIMIT: Final = 65536

_TCP: Final = Network.TCP
_UDP: Final = Network.UDP
_TPROXY: Final = InboundType.TPROXY


class Tunnel:
    """Match and dispatch, for both networks."""

    def __init__(
        self,
        context: RelayContext,
        engine: RuleEngine,
        outbounds: OutboundRegistry,
        verdicts: VerdictMap | None = None,
        flow_limit: int = FLOW_LIMIT,
        udp_timeout_s: float = UDP_TIMEOUT_S,
        named_engine: RuleEngine | None = None,
    ) -> None:
        self.engine = engine
        self.named_engine = named_engine or engine
        """Decides flows whose client names its destination (HTTP, SOCKS): all rules apply."""
        self.outbounds = outbounds
        self.verdicts: VerdictMap = NullVerdictMap() if verdicts is None else verdicts
        self.flow_limit = flow_limit
        """TCP flows alive at once; more are reset."""
        self.dscp = 0
        """Of the datagram that is being handled, while a rule asks for it."""
        self._tracker = context.tracker
        self.nat = NatTable(context.reactor, context.tracker, self._decide_udp, udp_timeout_s)
        self.handle_udp = self.nat.handle

    def handle_tcp(
        self, client: SocketType, source: SocketAddress, destination: SocketAddress
    ) -> None:
        """Take an accepted transparent connection over."""
        if self._tracker.tcp_live >= self.flow_limit:
            turn_away(self._tracker, client, None, "flow-limit")
            return
        metadata = Metadata(_TCP, _TPROXY, source[0], source[1], destination[0], destination[1])
        outbound = self._decide(metadata)
        if outbound is None:
            turn_away(self._tracker, client, None, "no-outbound")
        else:
            outbound.open_tcp(client, metadata)

    def handle_request(self, client: SocketType, metadata: Metadata, answer: Answer | None) -> None:
        """Take over a connection whose client said where it wants to go."""
        if self._tracker.tcp_live >= self.flow_limit:
            turn_away(self._tracker, client, answer, "flow-limit")
            return
        outbound = self.decide(metadata)
        if outbound is None:
            turn_away(self._tracker, client, answer, "no-outbound")
        else:
            outbound.open_tcp(client, metadata, answer)

    def decide(self, metadata: Metadata) -> Outbound | None:
        """The outbound for a flow the kernel does not see; None if the rules name none there is."""
        return self.outbounds.get(metadata.proxy or self.named_engine.match(metadata).target)

    def close(self) -> None:
        """Close the UDP associations; TCP flows end with the reactor."""
        self.nat.close()

    def _decide(self, metadata: Metadata) -> Outbound | None:
        decision = self.engine.match(metadata)
        outbound = self.outbounds.get(decision.target)
        if outbound is not None and outbound.verdict is not Verdict.UNKNOWN:
            self.verdicts.learn(metadata, decision.depends, outbound.verdict)
        return outbound

    def _decide_udp(self, client: SocketAddress, destination: SocketAddress) -> Outbound | None:
        metadata = Metadata(_UDP, _TPROXY, client[0], client[1], destination[0], destination[1])
        outbound = self._decide(metadata)
        if outbound is None:
            self._tracker.count("no-outbound")
        return outbound
