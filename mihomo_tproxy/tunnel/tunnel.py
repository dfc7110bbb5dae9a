"""The tunnel: names the flow, asks the rules, hands it to an outbound, tells the kernel.

    inbound -> Metadata -> engine.match -> group -> outbound -> relay
                                \\-> verdicts.learn, so that the next such flow need not come up

A rule whose outbound cannot take the flow (a datagram where there is no UDP, PASS) is passed over,
as in mihomo. A flow that only has a name waits for its address if a rule asks for it.

Verdicts are learnt from transparent flows alone: the kernel sees no others. The engines,
`outbounds` and `verdicts` may be replaced at any time between two events: a reload changes what new
flows meet, and old flows live on as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mihomo_tproxy.errors import NeedsAddress
from mihomo_tproxy.model.enums import InboundType, Network, Verdict
from mihomo_tproxy.model.fields import DSCP, PROCESS, UID
from mihomo_tproxy.model.metadata import Metadata, RequestMetadata
from mihomo_tproxy.outbound.opening import turn_away
from mihomo_tproxy.tunnel.nat import UDP_TIMEOUT_S, NatTable
from mihomo_tproxy.tunnel.verdicts import NullVerdictMap

if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import SocketType

    from mihomo_tproxy.model.interfaces import RuleEngine, VerdictMap
    from mihomo_tproxy.model.metadata import Decision
    from mihomo_tproxy.net.owner import OwnerFinder
    from mihomo_tproxy.net.relay import RelayContext
    from mihomo_tproxy.net.resolve import Resolved, Resolver
    from mihomo_tproxy.net.sockopt import SocketAddress
    from mihomo_tproxy.outbound.base import Answer, Outbound
    from mihomo_tproxy.outbound.registry import OutboundRegistry

FLOW_LIMIT: Final = 65536
WAITING_LIMIT: Final = 1024
"""Flows that wait for an address at a time."""

_TCP: Final = Network.TCP
_UDP: Final = Network.UDP
_ASKED: Final = DSCP | PROCESS | UID
_TPROXY: Final = InboundType.TPROXY


class Tunnel:
    """Match and dispatch, for both networks."""

    def __init__(
        self,
        context: RelayContext,
        resolver: Resolver,
        engine: RuleEngine,
        outbounds: OutboundRegistry,
        verdicts: VerdictMap | None = None,
        flow_limit: int = FLOW_LIMIT,
        udp_timeout_s: float = UDP_TIMEOUT_S,
        named_engine: RuleEngine | None = None,
    ) -> None:
        self.resolver = resolver
        """Finds the addresses that rules ask for."""
        self.engine = engine
        self.named_engine = named_engine or engine
        """Decides flows whose client names its destination (HTTP, SOCKS): all rules apply."""
        self.outbounds = outbounds
        self.verdicts: VerdictMap = NullVerdictMap() if verdicts is None else verdicts
        self.flow_limit = flow_limit
        """TCP flows alive at once; more are reset."""
        self.dscp = 0
        """Of the datagram that is handed over, if rules ask for it."""
        self.owners: OwnerFinder | None = None
        """Finds the programs of this host, if rules ask for them."""
        self._tracker = context.tracker
        self._waiting = 0
        self.nat = NatTable(context.reactor, context.tracker, self._decide_udp, udp_timeout_s)
        self.handle_udp = self.nat.handle

    def handle_tcp(
        self, client: SocketType, source: SocketAddress, destination: SocketAddress
    ) -> None:
        """Take an accepted transparent connection over."""
        if self._tracker.tcp_live >= self.flow_limit:
            turn_away(self._tracker, client, None, "flow-limit")
            return
        metadata = self._steered(_TCP, source, destination)
        outbound = self._decide(metadata)
        if outbound is None:
            turn_away(self._tracker, client, None, "no-outbound")
        else:
            outbound.open_tcp(client, metadata)

    def handle_request(
        self, client: SocketType, metadata: RequestMetadata, answer: Answer | None
    ) -> None:
        """Take over a connection whose client said where it wants to go."""
        if self._tracker.tcp_live >= self.flow_limit:
            turn_away(self._tracker, client, answer, "flow-limit")
            return
        if self.owners is not None and metadata.resolved is None:
            self._find_owner(metadata, client.getsockname())
        try:
            outbound = self.decide(metadata)
        except NeedsAddress:
            self._handle_later(client, metadata, answer)
            return
        if outbound is None:
            turn_away(self._tracker, client, answer, "no-outbound")
        else:
            outbound.open_tcp(client, metadata, answer)

    def decide(self, metadata: Metadata) -> Outbound | None:
        """The outbound for a flow the kernel does not see; None if the rules name none there is.

        Raises:
            NeedsAddress: the rules ask for its address; `resolve` it, and ask again.
        """
        if metadata.proxy:
            outbound = self.outbounds.get(metadata.proxy)
            return outbound.pick(metadata) if outbound is not None else None
        return choose(self.named_engine, self.outbounds, metadata)[1]

    def resolve(self, metadata: RequestMetadata, done: Callable[[], object]) -> bool:
        """Look the flow's name up and call `done`, at once or later; False: too many wait."""
        if self._waiting >= WAITING_LIMIT:
            return False

        def on_resolved(addresses: Resolved) -> None:
            self._waiting -= 1
            metadata.resolved = first_address(addresses)
            done()

        self._waiting += 1
        self.resolver.resolve(metadata.host, on_resolved)
        return True

    def close(self) -> None:
        """Close the UDP associations; TCP flows end with the reactor."""
        self.nat.close()

    def _handle_later(
        self, client: SocketType, metadata: RequestMetadata, answer: Answer | None
    ) -> None:
        def again() -> None:
            self.handle_request(client, metadata, answer)

        if not self.resolve(metadata, again):
            turn_away(self._tracker, client, answer, "resolve-limit")

    def _steered(
        self, network: Network, source: SocketAddress, destination: SocketAddress
    ) -> Metadata:
        """What a flow shows, and what else rules ask for."""
        asked = self.engine.fields & _ASKED
        if not asked:
            return Metadata(network, _TPROXY, source[0], source[1], destination[0], destination[1])
        metadata = RequestMetadata(
            network, _TPROXY, source[0], source[1], destination[0], destination[1]
        )
        if network is _UDP:
            metadata.dscp = self.dscp
        self._find_owner(metadata, destination)
        return metadata

    def _find_owner(self, metadata: RequestMetadata, peer: SocketAddress) -> None:
        """`peer`: whom the client's socket is connected to."""
        if self.owners is None:
            return
        owner = self.owners.find_owner(
            metadata.network, metadata.source, metadata.source_port, peer[0], peer[1]
        )
        if owner is not None:
            metadata.uid, metadata.process_path = owner

    def _decide(self, metadata: Metadata) -> Outbound | None:
        decision, outbound, verdict = choose(self.engine, self.outbounds, metadata)
        if verdict is not Verdict.UNKNOWN:
            self.verdicts.learn(metadata, decision.depends, verdict)
        return outbound

    def _decide_udp(self, client: SocketAddress, destination: SocketAddress) -> Outbound | None:
        metadata = self._steered(_UDP, client, destination)
        outbound = self._decide(metadata)
        if outbound is None:
            self._tracker.count("no-outbound")
        return outbound


def choose(
    engine: RuleEngine, outbounds: OutboundRegistry, metadata: Metadata
) -> tuple[Decision, Outbound | None, Verdict]:
    """What the rules say, who takes the flow, and what the kernel may do with later ones.

    Raises:
        NeedsAddress: as `RuleEngine.match`.
    """
    decision = engine.match(metadata)
    target = outbounds.get(decision.target)
    outbound = target.pick(metadata) if target is not None else None
    wavers = False
    if target is None or outbound is None or not usable(target, outbound, metadata):
        taken: Outbound | None = None

        def is_usable(name: str) -> bool:
            nonlocal wavers, taken
            other = outbounds.get(name)
            if other is None:
                return False
            pick = other.pick(metadata)
            # What a balancing group passes on for one flow it may take for the next.
            wavers = wavers or (pick.passes and not other.passes)
            if not usable(other, pick, metadata):
                return False
            taken = pick  # asked again, the group might pick another
            return True

        decision = engine.match_usable(metadata, is_usable)
        target = outbounds.get(decision.target)
        outbound = taken or (target.pick(metadata) if target is not None else None)
    verdict = target.verdict if target is not None and not wavers else Verdict.UNKNOWN
    return decision, outbound, verdict


def usable(target: Outbound, outbound: Outbound, metadata: Metadata) -> bool:
    """Whether a target, and who it picked, take a flow; else the next rule is asked."""
    # A group may be deaf to datagrams that its pick would take (`disable-udp`).
    return not outbound.passes and (metadata.network is _TCP or target.udp)


def first_address(addresses: Resolved) -> str:
    """The address that the rules see, as mihomo's: one of IPv4 if there is any; "" for none."""
    return next((each for each in addresses if ":" not in each), addresses[0] if addresses else "")
