"""What an outbound is to the tunnel, and what the tunnel's UDP side is to an outbound.

An outbound is a leaf, or a group that picks one for each flow. The tunnel picks first, and asks the
leaf: `pick` of a leaf is itself, and never a group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from socket import SocketType
    from typing import Self

    from mihomo_tproxy.codec.layer import Layer
    from mihomo_tproxy.model.enums import Verdict
    from mihomo_tproxy.model.metadata import Metadata
    from mihomo_tproxy.net.dial import Dialer
    from mihomo_tproxy.net.sockopt import SocketAddress


class Route(NamedTuple):
    """How a byte stream to some destination comes about: whom to dial, what to speak then."""

    dialer: Dialer
    host: str
    """Host name or IP literal to dial."""
    port: int
    layers: list[Layer]
    """From the wire to the payload, made for this one connection."""


class Answer(Protocol):
    """What the client of a flow is told about it, where its protocol has words for that."""

    early: bytes
    """Payload that came together with the request, and was read already."""

    def accepted(self) -> bytes:
        """The words for: the way is open, payload follows."""

    def refused(self, cause: str) -> bytes:
        """The words for: it is not, for a cause as the counters name it (`dial-refused`)."""


class PacketSink(Protocol):
    """Where an association's replies go."""

    def deliver(self, data: memoryview, remote: SocketAddress) -> None:
        """Hand a datagram from `remote` to the client. `data` is valid during the call only.

        The remote's host is a name only if a datagram was sent to that name.
        """


class PacketLink(Protocol):
    """One client port's way out through one outbound; replies go to its sink."""

    def send(self, data: memoryview, destination: SocketAddress) -> None:
        """Send a datagram. Never raises for the network's sake: UDP loses.

        The destination is (IP literal or name, port), an IPv6 literal with flow and scope after.
        """

    def close(self) -> None:
        """Let go of the sockets and of the sink."""


class Outbound(Protocol):
    """One way for flows to go."""

    name: str
    """As a rule names it."""

    @property
    def verdict(self) -> Verdict:
        """What the kernel may do with later flows of the same decision; UNKNOWN: ask again."""

    @property
    def udp(self) -> bool:
        """Whether it takes datagrams, were it only to refuse them as REJECT does.

        Where it does not, the rules are asked on.
        """

    @property
    def passes(self) -> bool:
        """Whether it is PASS: the rules are asked on."""

    def pick(self, metadata: Metadata | None) -> Outbound:
        """Who takes a flow: itself, or the member a group picks for it; never a group.

        None stands for a flow that is not known, as under another proxy.
        """

    def open_tcp(
        self, client: SocketType, metadata: Metadata, answer: Answer | None = None
    ) -> None:
        """Take an accepted client over, whatever happens; failures are counted, not raised."""

    def route(self, host: str, port: int) -> Route:
        """How to get a stream to a destination through here, for another outbound to run on.

        Raises:
            LocalProtocolError: there is none (REJECT), or the protocol cannot name the host.
        """

    def open_udp(self, sink: PacketSink) -> PacketLink | None:
        """A link for one client port, None when this outbound relays no datagrams.

        Raises:
            OSError: no descriptor for it.
        """

    def refuse_udp(self, client: SocketAddress, destination: SocketAddress, size: int) -> None:
        """Answer a datagram of `size` bytes that `open_udp` gave no link for."""


class Leaf:
    """What all outbounds that are no group have in common."""

    passes = False

    def pick(self, metadata: Metadata | None) -> Self:
        """Itself."""
        return self


class Picker:
    """What does what an outbound does by whom it picks."""

    __slots__ = ()

    def pick(self, metadata: Metadata | None) -> Outbound:
        """Who takes a flow; never a picker."""
        raise NotImplementedError

    def open_tcp(
        self, client: SocketType, metadata: Metadata, answer: Answer | None = None
    ) -> None:
        """Have the pick take an accepted client over."""
        self.pick(metadata).open_tcp(client, metadata, answer)

    def route(self, host: str, port: int) -> Route:
        """The way of who is picked now; raises as that does."""
        return self.pick(None).route(host, port)

    def open_udp(self, sink: PacketSink) -> PacketLink | None:
        """A link of who is picked now; raises as that does."""
        return self.pick(None).open_udp(sink)

    def refuse_udp(self, client: SocketAddress, destination: SocketAddress, size: int) -> None:
        """Have who is picked now answer."""
        self.pick(None).refuse_udp(client, destination, size)
