"""What the demonstration sends: the gateway's configuration, and the flows with their routes.

The rig's internet owns 198.51.100.0/24 and 2001:db8:51::/64, so a host number is a destination of
either family. Invariant: the order matters; a case that is to meet a learnt verdict comes after the
one that makes the gateway learn it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from mihomo_tproxy.model.enums import Network

CONFIG: Final = """\
log-level: info
ipv6: true
proxies:
  - {name: line-2, type: direct, interface-name: wan0}
rules:
  - IP-CIDR,198.51.100.0/26,DIRECT
  - IP-CIDR6,2001:db8:51::/122,DIRECT
  - IP-CIDR,198.51.100.64/26,REJECT-DROP
  - IP-CIDR6,2001:db8:51::40/122,REJECT-DROP
  - IP-CIDR,198.51.100.128/26,line-2
  - IP-CIDR6,2001:db8:51::80/122,line-2
  - DST-PORT,25,REJECT
  - MATCH,DIRECT
gateway:
  lan: ["lan*"]
"""
BULK_BYTES: Final = 200_000_000
SMALL_BYTES: Final = 20_000
ECHOES: Final = 20
ECHO_BYTES: Final = 512


class Way(StrEnum):
    """Where a flow went."""

    KERNEL = "kernel"
    """Forwarded; the gateway's processes never saw it."""
    SPLICE = "splice"
    """Relayed, its bytes moved from socket to socket inside the kernel."""
    RELAY = "relay"
    """Relayed by reading and writing."""
    BLOCKED = "blocked"
    """Refused or dropped."""
    LOST = "not counted"
    """The counters do not show the flow."""


class Answer(StrEnum):
    """What the client saw."""

    DATA = "data"
    RESET = "RST"
    UNREACHABLE = "ICMP"
    SILENCE = "silence"
    SHORT = "cut short"


@dataclass(frozen=True, slots=True)
class Case:
    """One flow of the demonstration, for either family."""

    title: str
    client: int
    network: Network
    host: int
    """Number of the destination, see `Rig.destination`."""
    port: int
    size: int
    """Bytes asked for: TCP. Datagrams are always `ECHOES` of `ECHO_BYTES`."""
    way: Way
    """Where it must go."""
    answer: Answer = Answer.DATA
    counter: str = ""
    """The worker's counter that must grow by at least `growth`, when the relay takes part."""
    growth: int = 1


TCP, UDP = Network.TCP, Network.UDP

CASES: Final = (
    Case("known address", 0, TCP, 1, 80, BULK_BYTES, Way.KERNEL),
    Case(
        "first flow", 0, TCP, 200, 80, BULK_BYTES, Way.SPLICE,
        counter="spliced-bytes", growth=BULK_BYTES // 2,
    ),
    Case("then, learnt", 1, TCP, 200, 80, BULK_BYTES, Way.KERNEL),
    Case("short flow", 1, TCP, 129, 80, SMALL_BYTES, Way.RELAY,
         counter="opened:tcp:line-2"),
    Case("first flow", 1, UDP, 201, 7, 0, Way.RELAY, counter="opened:udp:DIRECT"),
    Case("then, learnt", 0, UDP, 201, 7, 0, Way.KERNEL),
    Case("known address", 1, UDP, 2, 7, 0, Way.KERNEL),
    Case("REJECT", 0, TCP, 202, 25, SMALL_BYTES, Way.BLOCKED, Answer.RESET,
         counter="opened:tcp:REJECT"),
    Case("REJECT", 1, UDP, 202, 25, 0, Way.BLOCKED, Answer.UNREACHABLE,
         counter="opened:udp:REJECT"),
    Case("REJECT-DROP", 1, TCP, 65, 80, SMALL_BYTES, Way.BLOCKED, Answer.SILENCE),
    Case("REJECT-DROP", 0, UDP, 66, 7, 0, Way.BLOCKED, Answer.SILENCE),
)  # fmt: skip
