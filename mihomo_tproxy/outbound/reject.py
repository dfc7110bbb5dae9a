"""REJECT answers at once; REJECT-DROP never answers; PASS leads nowhere.

A client whose packet came up has been accepted by the kernel already, so REJECT is a RST after the
handshake, and REJECT-DROP a connection that stays open and silent. It is held for as long as mihomo
holds one, or until the client ends it, and then reset: with no socket here that knows it, whatever
the client sends next, were it only its FIN again, would be forwarded to the server it is kept from.
The verdict DROP goes to the kernel: the next SYN gets no answer at all.
"""

from __future__ import annotations

from select import EPOLLERR, EPOLLET, EPOLLHUP, EPOLLRDHUP
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.errors import LocalProtocolError
from mihomo_tproxy.model.enums import Network, Verdict
from mihomo_tproxy.net.layered import refuse
from mihomo_tproxy.net.sockopt import reset_on_close
from mihomo_tproxy.outbound.base import Leaf
from mihomo_tproxy.outbound.opening import turn_away

if TYPE_CHECKING:
    from socket import SocketType

    from mihomo_tproxy.model.metadata import Metadata
    from mihomo_tproxy.net.icmp import Unreachable
    from mihomo_tproxy.net.reactor import Reactor
    from mihomo_tproxy.net.sockopt import SocketAddress
    from mihomo_tproxy.net.tracker import Tracker
    from mihomo_tproxy.outbound.base import Answer, PacketSink, Route

HOLD_S: Final = 60.0
HOLD_LIMIT: Final = 1024
_GONE: Final = EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLET


class Reject(Leaf):
    """RST for TCP, ICMP port unreachable for UDP."""

    verdict = Verdict.UNKNOWN
    udp = True

    def __init__(self, tracker: Tracker, unreachable: Unreachable, name: str = "REJECT") -> None:
        self.name = name
        self._tracker = tracker
        self._unreachable = unreachable
        self._tcp = tracker.traffic(name, Network.TCP)
        self._udp = tracker.traffic(name, Network.UDP)

    def open_tcp(
        self, client: SocketType, metadata: Metadata, answer: Answer | None = None
    ) -> None:
        """Reset the client, or tell it that it is refused."""
        self._tracker.flow_opened(self._tcp)
        if answer is not None:
            refuse(client, answer, "rejected")
        else:
            reset_on_close(client)
        client.close()
        self._tracker.flow_closed(self._tcp, "")

    def route(self, host: str, port: int) -> Route:
        """Nothing goes this way."""
        raise LocalProtocolError("rejected", f"{self.name} leads nowhere")

    def open_udp(self, sink: PacketSink) -> None:
        """No datagrams go this way."""

    def refuse_udp(self, client: SocketAddress, destination: SocketAddress, size: int) -> None:
        """Say that nobody listens there, as often as the rate limit allows."""
        self._udp.opened += 1
        self._udp.closed += 1
        self._unreachable.send(client, destination, size)


class RejectDrop(Leaf):
    """Silence."""

    verdict = Verdict.DROP
    udp = True

    def __init__(self, reactor: Reactor, tracker: Tracker, name: str = "REJECT-DROP") -> None:
        self.name = name
        self._reactor = reactor
        self._tracker = tracker
        self._tcp = tracker.traffic(name, Network.TCP)
        self._udp = tracker.traffic(name, Network.UDP)
        self._held: dict[Held, None] = {}

    def open_tcp(
        self, client: SocketType, metadata: Metadata, answer: Answer | None = None
    ) -> None:
        """Hold the client without a word; the oldest goes when there are too many."""
        self._tracker.flow_opened(self._tcp)
        if len(self._held) >= HOLD_LIMIT:
            next(iter(self._held)).abort("hold-limit")
        held = Held(self, client, self._reactor.now + HOLD_S)
        self._held[held] = None
        try:
            self._reactor.watch(client.fileno(), held, _GONE)
        except OSError:
            held.abort("hold-failed")

    def route(self, host: str, port: int) -> Route:
        """Nothing goes this way."""
        raise LocalProtocolError("rejected", f"{self.name} leads nowhere")

    def open_udp(self, sink: PacketSink) -> None:
        """No datagrams go this way."""

    def refuse_udp(self, client: SocketAddress, destination: SocketAddress, size: int) -> None:
        """Nothing is answered."""
        self._udp.opened += 1
        self._udp.closed += 1

    def release(self, held: Held, client: SocketType, cause: str) -> None:
        """A held client is let go."""
        if held in self._held:
            del self._held[held]
            reset_on_close(client)
            self._reactor.retire(client)
            self._tracker.flow_closed(self._tcp, cause)


class Pass(Leaf):
    """PASS: the rules are asked on. Where there is none to ask, nothing goes this way."""

    verdict = Verdict.UNKNOWN
    udp = True
    passes = True

    def __init__(self, tracker: Tracker, name: str = "PASS") -> None:
        self.name = name
        self._tracker = tracker

    def open_tcp(
        self, client: SocketType, metadata: Metadata, answer: Answer | None = None
    ) -> None:
        """Turn the client away."""
        turn_away(self._tracker, client, answer, "passed-by-all")

    def route(self, host: str, port: int) -> Route:
        """Nothing goes this way."""
        raise LocalProtocolError("passed-by-all", f"{self.name} leads nowhere")

    def open_udp(self, sink: PacketSink) -> None:
        """No datagrams go this way."""

    def refuse_udp(self, client: SocketAddress, destination: SocketAddress, size: int) -> None:
        """The datagram is lost, and counted."""
        self._tracker.count("passed-by-all")


class Held:
    """One silent client."""

    __slots__ = ("_client", "_outbound", "deadline")

    def __init__(self, outbound: RejectDrop, client: SocketType, deadline: float) -> None:
        self._outbound = outbound
        self._client = client
        self.deadline = deadline

    def on_event(self, fd: int, events: int) -> None:
        """The client gave up."""
        self._outbound.release(self, self._client, "")

    def on_again(self) -> None:
        """Never asked for."""

    def expire(self, now: float) -> None:
        """Held long enough."""
        self._outbound.release(self, self._client, "")

    def abort(self, cause: str) -> None:
        """Let go early."""
        self._outbound.release(self, self._client, cause)
