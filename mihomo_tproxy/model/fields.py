"""The fields of a flow that a decision can depend on, as bits of an int.

The first five are what a packet shows the kernel, with the kernel's own numbers (`bpf/verdict.h`):
a decision that depends on nothing else can be cached there, under a key of exactly these fields.
"""

from __future__ import annotations

from typing import Final

SRC_ADDR: Final = 1
DST_ADDR: Final = 2
SRC_PORT: Final = 4
DST_PORT: Final = 8
NETWORK: Final = 16
DOMAIN: Final = 32
INBOUND: Final = 64
"""IN-TYPE, IN-NAME, IN-USER, IN-PORT."""
DSCP: Final = 128
PROCESS: Final = 256
"""Name and path of the program of this host that opened the flow."""
UID: Final = 512
"""The user it runs as."""

PACKET: Final = SRC_ADDR | DST_ADDR | SRC_PORT | DST_PORT | NETWORK
"""What the kernel can see of a flow."""
EVERYTHING: Final = 0x3FF

NAMES_OBSERVED: Final = False
"""Whether a flow's domain can become known: no, while neither DNS nor a sniffer tells."""
