"""UDP: one association per client address and port, full cone (RFC 4787: endpoint-independent).

    client a:p --- listener --- UdpFlow (a:p, X) --\\
                                UdpFlow (a:p, Y) ---- link (one source port) --- X, Y, anyone
                                UdpFlow (a:p, Z) --/

A flow is a transparent socket bound to the remote and connected to the client: the kernel gives it
the client's later datagrams by their 4-tuple, and what it sends comes from the remote. Until it is
connected the kernel gives it anybody's, so a new flow asks who sent what it reads. Rules decide per
destination. A reply from a remote the client never wrote to gets a flow as well; what the client
then sends there is decided first.

Invariants: associations, and flows of one association, are capped, the least used go first; every
flow ends after its idle time, an association with its last flow; no datagram is answered with an
exception.
"""

from __future__ import annotations

from select import EPOLLIN
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.model.enums import Network
from mihomo_tproxy.net.sockopt import cause_of, is_literal, open_reply

if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import SocketType

    from mihomo_tproxy.net.reactor import Reactor
    from mihomo_tproxy.net.sockopt import SocketAddress
    from mihomo_tproxy.net.tracker import Tracker
    from mihomo_tproxy.outbound.base import Outbound, PacketLink

UDP_TIMEOUT_S: Final = 60.0
DNS_TIMEOUT_S: Final = 10.0
"""A name server's port asks once and is answered once."""
ASSOCIATION_LIMIT: Final = 8192
FLOW_LIMIT: Final = 256
"""Remotes of one client port."""
TURN_DATAGRAMS: Final = 64
_MIXED_S: Final = 1.0
"""How long a look-up that found a flow's socket before it was connected may take to put a datagram
there: a softirq's time on another CPU, or as long as a virtual CPU stands still."""
_SECOND_CHANCES: Final = 8
_QUIET_S: Final = 2.0
"""Who was heard of this recently is evicted last."""


class UdpFlow:
    """One client port and one remote."""

    __slots__ = (
        "_mixed_until", "_round", "active", "association", "deadline", "link", "remote", "sock",
        "traffic",
    )  # fmt: skip

    def __init__(self, association: Association, remote: SocketAddress, sock: SocketType) -> None:
        self.association = association
        self.remote = remote
        self.sock = sock
        self.link: PacketLink | None = None
        """None until the client wrote to this remote and a rule let it."""
        table = association.table
        self.traffic = table.replies
        self._round = 0
        self.active = table.reactor.now
        self._mixed_until = self.active + _MIXED_S
        """Zero when the socket can hold no datagram of another client any more."""
        self.deadline = self.active + table.timeout_of(remote)

    def on_event(self, fd: int, events: int) -> None:
        """The client sent; a socket busy in two rounds in a row is read until it is empty."""
        table = self.association.table
        reactor = table.reactor
        reads = TURN_DATAGRAMS if reactor.round - self._round <= 1 else 1
        self._round = reactor.round
        view = reactor.view
        try:
            if self._mixed_until:
                self._receive_mixed(reads)
                return
            for _ in range(reads):
                size = self.sock.recv_into(reactor.buffer)
                self.forward(view[:size])
        except BlockingIOError:
            if self._mixed_until <= reactor.now:  # whatever came before then has been read
                self._mixed_until = 0.0
        except OSError as error:  # the client's ICMP errors end nothing
            table.tracker.count(cause_of(error.errno, "udp-client"))

    def _receive_mixed(self, reads: int) -> None:
        """Receive datagrams that need not be the client's; the sender costs a little to learn."""
        association = self.association
        table = association.table
        buffer, view = table.reactor.buffer, table.reactor.view
        for _ in range(reads):
            size, sender = self.sock.recvfrom_into(buffer)
            if sender == association.client:
                self.forward(view[:size])
            else:
                table.handle(view[:size], sender, self.remote)

    def forward(self, data: memoryview) -> None:
        """Send the client's datagram to the remote."""
        table = self.association.table
        link = self.link
        if link is None:
            if not table.decide_flow(self, len(data)):
                return
            link = self.link
            assert link is not None  # noqa: S101 - decided just now
        self.active = table.reactor.now
        table.tracker.datagrams_up += 1
        self.traffic.up += len(data)
        link.send(data, self.remote)

    def on_again(self) -> None:
        """Never asked for: readiness is level-triggered."""

    def expire(self, now: float) -> None:
        """Close when idle."""
        due = self.active + self.association.table.timeout_of(self.remote)
        if due <= now:
            self.association.close_flow(self)
        else:
            self.deadline = due

    def abort(self, cause: str) -> None:
        """Close at once."""
        self.association.table.tracker.count(cause)
        self.association.close_flow(self)


class Association:
    """One client port: its flows, and its links by outbound."""

    __slots__ = ("__weakref__", "client", "flows", "links", "table")

    def __init__(self, table: NatTable, client: SocketAddress) -> None:
        self.table = table
        self.client = client
        self.flows: dict[SocketAddress, UdpFlow] = {}
        self.links: dict[Outbound, PacketLink] = {}

    def deliver(self, data: memoryview, remote: SocketAddress) -> None:
        """Send a datagram to the client, from `remote`."""
        table = self.table
        flow = self.flows.get(remote)
        if flow is None:
            if not is_literal(remote[0]):  # binding to it would ask the resolver
                table.tracker.count("udp-reply-name")
                return
            flow = table.open_flow(self, remote)
            if flow is None:
                return
        flow.active = table.reactor.now
        table.tracker.datagrams_down += 1
        flow.traffic.down += len(data)
        try:
            flow.sock.send(data)
        except OSError as error:
            table.tracker.count(cause_of(error.errno, "udp-client"))

    def link_to(self, outbound: Outbound) -> PacketLink | None:
        """This client port's link through an outbound; None when that relays no datagrams."""
        link = self.links.get(outbound)
        if link is None:
            link = outbound.open_udp(self)
            if link is not None:
                self.links[outbound] = link
        return link

    def close_flow(self, flow: UdpFlow) -> None:
        """Close one flow, and the association with its last one."""
        if self.flows.get(flow.remote) is flow:
            del self.flows[flow.remote]
            self.table.reactor.retire(flow.sock)
            self.table.tracker.session_closed(flow.traffic)
            if not self.flows:
                self.close()

    def close(self) -> None:
        """Close everything of this client port."""
        self.table.associations.pop(self.client, None)
        for flow in list(self.flows.values()):
            self.table.reactor.retire(flow.sock)
            self.table.tracker.session_closed(flow.traffic)
        self.flows.clear()
        for link in self.links.values():
            link.close()
        self.links.clear()

    def last_active(self) -> float:
        """When a datagram last passed, reactor time."""
        return max((flow.active for flow in self.flows.values()), default=0.0)


class NatTable:
    """The associations of one worker."""

    def __init__(
        self,
        reactor: Reactor,
        tracker: Tracker,
        decide: Callable[[SocketAddress, SocketAddress], Outbound | None],
        udp_timeout_s: float = UDP_TIMEOUT_S,
        association_limit: int = ASSOCIATION_LIMIT,
        flow_limit: int = FLOW_LIMIT,
        open_reply: Callable[[SocketAddress, SocketAddress], SocketType] = open_reply,
    ) -> None:
        """`decide` names the outbound for (client, destination), or counts why there is none."""
        self.reactor = reactor
        self.tracker = tracker
        self.associations: dict[SocketAddress, Association] = {}
        self.replies = tracker.traffic("", Network.UDP)
        """Counts flows that exist because of a reply only."""
        self.udp_timeout_s = udp_timeout_s
        self._decide = decide
        self._association_limit = association_limit
        self._flow_limit = flow_limit
        self._open_reply = open_reply

    def timeout_of(self, remote: SocketAddress) -> float:
        """Idle seconds after which a flow to `remote` ends."""
        return min(DNS_TIMEOUT_S, self.udp_timeout_s) if remote[1] == 53 else self.udp_timeout_s

    def handle(self, data: memoryview, client: SocketAddress, remote: SocketAddress) -> None:
        """A datagram from a client that no flow's socket took."""
        association = self.associations.get(client)
        flow = association.flows.get(remote) if association is not None else None
        if flow is not None:
            flow.forward(data)
        else:
            self._handle_first(data, association, client, remote)

    def open_flow(self, association: Association, remote: SocketAddress) -> UdpFlow | None:
        """A flow for one more remote; None when the kernel refuses its socket."""
        flows = association.flows
        if len(flows) >= self._flow_limit:
            self._evict_flow(association)
        try:
            sock = self._open_reply(remote, association.client)
        except OSError as error:
            self.tracker.count(cause_of(error.errno, "udp-reply"))
            return None
        flow = UdpFlow(association, remote, sock)
        try:
            self.reactor.watch(sock.fileno(), flow, EPOLLIN)
        except OSError as error:
            sock.close()
            self.tracker.count(cause_of(error.errno, "udp-reply"))
            return None
        flows[remote] = flow
        self.associations[association.client] = association
        self.tracker.session_opened(flow.traffic)
        return flow

    def decide_flow(self, flow: UdpFlow, size: int) -> bool:
        """Ask the rules about a flow that a reply had opened; whether it may send now."""
        association = flow.association
        link, outbound = self._link(association, flow.remote, size)
        if link is None or outbound is None:
            return False
        flow.link = link
        self.tracker.session_closed(flow.traffic)
        flow.traffic = self.tracker.traffic(outbound.name, Network.UDP)
        self.tracker.session_opened(flow.traffic)
        return True

    def close(self) -> None:
        """Close every association."""
        for association in list(self.associations.values()):
            association.close()

    def _handle_first(
        self,
        data: memoryview,
        association: Association | None,
        client: SocketAddress,
        remote: SocketAddress,
    ) -> None:
        if association is None:
            if len(self.associations) >= self._association_limit:
                self._evict_association()
            association = Association(self, client)
        link, outbound = self._link(association, remote, len(data))
        if link is None or outbound is None:
            return
        self.tracker.datagrams_up += 1
        traffic = self.tracker.traffic(outbound.name, Network.UDP)
        traffic.up += len(data)
        link.send(data, remote)
        flow = self.open_flow(association, remote)
        if flow is None:
            if not association.flows:
                association.close()
            return
        self.tracker.session_closed(flow.traffic)
        flow.link, flow.traffic = link, traffic
        self.tracker.session_opened(traffic)

    def _link(
        self, association: Association, remote: SocketAddress, size: int
    ) -> tuple[PacketLink | None, Outbound | None]:
        outbound = self._decide(association.client, remote)
        if outbound is None:
            return None, None
        try:
            link = association.link_to(outbound)
        except OSError as error:
            self.tracker.count(cause_of(error.errno, "udp-dial"))
            return None, None
        if link is None:
            outbound.refuse_udp(association.client, remote, size)
        return link, outbound

    def _evict_flow(self, association: Association) -> None:
        flows = association.flows
        for _ in range(_SECOND_CHANCES):
            remote = next(iter(flows))
            if flows[remote].active + _QUIET_S < self.reactor.now:
                break
            flows[remote] = flows.pop(remote)
        victim = flows.pop(next(iter(flows)))
        self.reactor.retire(victim.sock)
        self.tracker.session_closed(victim.traffic)
        self.tracker.count("udp-flow-evicted")

    def _evict_association(self) -> None:
        table = self.associations
        for _ in range(_SECOND_CHANCES):
            client = next(iter(table))
            if table[client].last_active() + _QUIET_S < self.reactor.now:
                break
            table[client] = table.pop(client)
        table[next(iter(table))].close()
        self.tracker.count("udp-association-evicted")
