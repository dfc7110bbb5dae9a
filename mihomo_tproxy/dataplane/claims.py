"""Tells the classifier whether the relay may hold TCP flows at all (`claims_exist` in bpf/lan.c).

While it holds none, the kernel's flows are spared the look-up of a socket. The classifier notes
every flow it gives to the relay; here is what it cannot see: flows that are alive but silent, and
TIME_WAIT sockets of an earlier instance.
"""

from __future__ import annotations

import time
from struct import pack
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mihomo_tproxy.dataplane.bpf import Map

SOCKSTAT: Final = "/proc/self/net/sockstat"


class Claims:
    """The map `claims`: one time on the programs' clock."""

    def __init__(self, claims: Map) -> None:
        self._map = claims

    def renew(self) -> None:
        """From now on, for as long as the programs count a claim, flows may be ours."""
        self._map.update(bytes(4), pack("=Q", time.monotonic_ns()))


def time_wait_sockets(sockstat: str = SOCKSTAT) -> int:
    """How many TCP sockets of this namespace are in TIME_WAIT; 0 when the kernel does not say."""
    try:
        with open(sockstat, encoding="ascii") as file:
            lines = file.readlines()
    except OSError:
        return 0
    for line in lines:
        words = line.split()
        if words[:1] == ["TCP:"] and "tw" in words:
            return int(words[words.index("tw") + 1])
    return 0
