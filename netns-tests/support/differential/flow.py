"""One flow of the differential test, and what became of it."""

from __future__ import annotations

from typing import NamedTuple

STEERED = "tproxy"
"""In place of a listener: the client opens the flow as if there were no proxy."""
DROPPED = "silence"
"""Neither an answer nor an end."""
ENDED = "end"
"""An end, or a refusal, without an answer."""


class Flow(NamedTuple):
    """What a client asks a listener for. Of one network, no two have the same source port."""

    network: str
    """`tcp` or `udp`."""
    listener: str
    """A key of `programs.LISTENERS`, or STEERED."""
    client: int
    """The number of the rig's client."""
    version: int
    """Of the client's own address."""
    source_port: int
    host: str
    """A name, or an address, as the client writes it."""
    port: int
    user: str = ""
    dscp: int = 0
    """Of the client's packets (RFC 2474)."""

    def __str__(self) -> str:
        user = f" as {self.user}" if self.user else ""
        user += f" with DSCP {self.dscp}" if self.dscp else ""
        where = f"client{self.client}/v{self.version}:{self.source_port}"
        return f"{self.network} {where}{user} by {self.listener} -> {self.host} port {self.port}"


class Outcome(NamedTuple):
    """What a flow met."""

    answer: str
    """The name of the server that answered, DROPPED or ENDED."""
    asked: str = ""
    """The destination that server was asked for; "" where the program dialled it itself."""
