"""What is known about one flow, and what was decided about it (mihomo: `constant.Metadata`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mihomo_tproxy.model.address import address_key

if TYPE_CHECKING:
    from mihomo_tproxy.model.enums import InboundType, Network
    from mihomo_tproxy.model.interfaces import Rule


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
    proxy: str = ""
    """The outbound that the listener has for everything; "" asks the rules."""

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

    def __repr__(self) -> str:
        where = self.host or self.destination
        return f"{self.network} {self.source}:{self.source_port} -> {where}:{self.destination_port}"


class RequestMetadata(Metadata):
    """A flow that came in by a listener with a name."""

    __slots__ = ("inbound_name", "inbound_user", "proxy")


class Decision(NamedTuple):
    """What the rules say about one flow."""

    target: str
    """The name of the outbound: `DIRECT`, `REJECT`, a proxy, a group."""
    rule: Rule | None
    """The rule that decided; None when none matched, or when the mode did."""
    depends: int
    """The fields (`model.fields`) the decision followed from: any flow that agrees with this one
    in these fields meets the same decision."""
