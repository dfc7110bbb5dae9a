"""What is known about one flow, and what was decided about it (mihomo: `constant.Metadata`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mihomo_tproxy.errors import NeedsAddress
from mihomo_tproxy.model.address import address_key

if TYPE_CHECKING:
    from mihomo_tproxy.model.enums import InboundType, Network


class Metadata:
    """One flow as the rules see it. Addresses are IP literals as the socket layer prints them.

    `destination` is "" while only the name is known, `host` is "" while only the address is.
    A host is lower-case ASCII without the dot at its end: whoever names the flow writes it so.
    """

    __slots__ = (
        "destination",
        "destination_port",
        "host",
        "inbound",
        "network",
        "source",
        "source_port",
    )

    inbound_name: str = ""
    """The listener; "" for what is steered here."""
    inbound_user: str = ""
    """Who authenticated."""
    inbound_port: int = 0
    """The listener's port."""
    proxy: str = ""
    """The outbound that the listener has for everything; "" asks the rules."""
    dscp: int = 0
    """The six bits of the client's packets (RFC 2474)."""
    uid: int = -1
    """The user a program of this host runs as; -1 while unknown, or another host's."""
    process_path: str = ""
    """The program of this host that opened the flow; "" while unknown, or another host's."""
    resolved: str | None = None
    """What the host resolved to: "" to nothing; None while nobody asked."""
    fixed: bool = False
    """Whether `hosts` gives the host this destination: a proxy is told that instead of the host."""

    def __init__(
        self,
        network: Network,
        inbound: InboundType,
        source: str,
        source_port: int,
        destination: str,
        destination_port: int,
        host: str = "",
    ) -> None:
        self.network = network
        self.inbound = inbound
        self.source = source
        self.source_port = source_port
        self.destination = destination
        self.destination_port = destination_port
        self.host = host

    def source_key(self) -> int:
        """The source address as a 128-bit key (`model.address`)."""
        return address_key(self.source)

    def destination_key(self) -> int | None:
        """The destination address as a 128-bit key, None while only the name is known."""
        return address_key(self.destination) if self.destination else None

    def resolved_key(self) -> int | None:
        """The key of the address that the host resolved to, from now on the destination's.

        None for a host that has none, and for a flow without a host.

        Raises:
            NeedsAddress: nobody resolved it yet.
        """
        if not self.host:
            return None
        if self.resolved is None:
            raise NeedsAddress(self.host)
        self.destination = self.resolved
        return self.destination_key()

    def __repr__(self) -> str:
        where = self.host or self.destination
        return f"{self.network} {self.source}:{self.source_port} -> {where}:{self.destination_port}"


class RequestMetadata(Metadata):
    """A flow that came in by a listener with a name, or about which more is known."""

    __slots__ = (
        "dscp",
        "fixed",
        "inbound_name",
        "inbound_port",
        "inbound_user",
        "process_path",
        "proxy",
        "resolved",
        "uid",
    )

    def __init__(
        self,
        network: Network,
        inbound: InboundType,
        source: str,
        source_port: int,
        destination: str,
        destination_port: int,
        host: str = "",
    ) -> None:
        super().__init__(network, inbound, source, source_port, destination, destination_port, host)
        self.inbound_name = self.inbound_user = self.proxy = self.process_path = ""
        self.inbound_port = self.dscp = 0
        self.uid = -1
        self.resolved = None
        self.fixed = False


class Decision(NamedTuple):
    """What the rules say about one flow."""

    target: str
    """The name of the outbound: `DIRECT`, `REJECT`, a proxy, a group."""
    rank: int
    """The rule that decided, as the engine counts them; -1 when none matched, or the mode did."""
    depends: int
    """The fields (`model.fields`) the decision followed from: any flow that agrees with this one
    in these fields meets the same decision."""
