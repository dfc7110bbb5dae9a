"""What an outbound is to the tunnel, and what the tunnel's UDP side is to an outbound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from socket import SocketType

    from mihomo_tproxy.model.enums import Verdict
    from mihomo_tproxy.model.metadata import Metadata
    from mihomo_tproxy.net.sockopt import SocketAddress


class PacketSink(Protocol):
    """Where an association's replies go."""

    def deliver(self, data: memoryview, remote: SocketAddress) -> None:
        """Hand a datagram from `remote` to the client. `data` is valid during the call only."""


class PacketLink(Protocol):
    """One client port's way out through one outbound; replies go to its sink."""

    def send(self, data: memoryview, destination: SocketAddress) -> None:
        """Send a datagram. Never raises for the network's sake: UDP loses."""

    def close(self) -> None:
        """Let go of the sockets and of the sink."""


class Outbound(Protocol):
    """One way for flows to go."""

    name: str
    """As a rule names it."""
    verdict: Verdict
    """What the kernel may do with later flows of the same decision; UNKNOWN: ask again."""

    def open_tcp(self, client: SocketType, metadata: Metadata, destination: SocketAddress) -> None:
        """Take an accepted client over, whatever happens; failures are counted, not raised."""

    def open_udp(self, sink: PacketSink) -> PacketLink | None:
        """A link for one client port, None when this outbound relays no datagrams.

        Raises:
            OSError: no descriptor for it.
        """

    def refuse_udp(self, client: SocketAddress, destination: SocketAddress, size: int) -> None:
        """Answer a datagram of `size` bytes that `open_udp` gave no link for."""
