"""`bpf/verdict.h` in Python: layouts, flags and counters shared with the BPF programs.

Integers are in host order except ports and addresses, which are in network order. Sizes are checked
against the loaded maps when they are opened (`bpf.Map`).
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_MASKS: Final = 6
MAX_WORKERS: Final = 16

SETTINGS: Final = Struct(f"=5I{MAX_MASKS}IIQ")
PREFIX: Final = Struct("=I16s")
PREFIX_VERDICT: Final = Struct("=2I")
VERDICT_KEY: Final = Struct("=16s16s2s2sBB2x")
VERDICT_VALUE: Final = Struct("=2I")
MAC: Final = Struct("=6s2x")
COUNT: Final = Struct("=3Q")
STAT_KEY: Final = Struct("=124sI")
STAT_VALUE: Final = Struct("=Q")

FLAG_CACHE: Final = 1
FLAG_CLOSED: Final = 2
FLAG_CLIENTS_ONLY: Final = 4
FLAG_CLIENTS: Final = 8
FLAG_MACS: Final = 16
FLAG_PRIVATE: Final = 32
FLAG_IPV6: Final = 64
FLAG_LOCAL: Final = 128

CLIENT_INCLUDE: Final = 1
CLIENT_EXCLUDE: Final = 2


class Route(IntEnum):
    """Where a packet went: the index into the kernel's counters."""

    KERNEL = 0
    RELAY = 1
    DROP = 2
    OPEN = 3
    CLOSED = 4
    BYPASS = 5
    DOWN_KERNEL = 6
    DOWN_RELAY = 7
    OWN = 8
    DOWN_OWN = 9
    OTHER = 10
    MALFORMED = 11


CLIENT_ROUTES: Final = 8
"""Routes below this number are also counted per client."""


class Settings(NamedTuple):
    """The one entry of the map `settings`."""

    mark: int
    generation: int
    flags: int
    workers: int
    routing_mark: int
    masks: tuple[int, ...]
    epoch: int
    netns_cookie: int

    def pack(self) -> bytes:
        """The bytes the kernel reads.

        Raises:
            ValueError: more masks than a first-match rule list can have.
        """
        if len(self.masks) > MAX_MASKS:
            raise ValueError(f"{len(self.masks)} masks, room for {MAX_MASKS}")
        masks = [*self.masks, *[0] * (MAX_MASKS - len(self.masks))]
        return SETTINGS.pack(
            self.mark, self.generation, self.flags, self.workers, self.routing_mark,
            *masks, self.epoch, self.netns_cookie,
        )  # fmt: skip

    @classmethod
    def unpack(cls, data: bytes) -> Settings:
        """The settings in force."""
        mark, generation, flags, workers, routing_mark, *masks, epoch, cookie = SETTINGS.unpack(
            data
        )
        used = tuple(mask for mask in masks if mask)
        return cls(mark, generation, flags, workers, routing_mark, used, epoch, cookie)


class Count(NamedTuple):
    """Packets, bytes on the wire from the link layer up, and flows that began."""

    packets: int
    bytes: int
    flows: int


def sum_counts(per_cpu: Sequence[bytes], index: int = 0) -> Count:
    """The total over CPUs of the counter at `index` of each CPU's value."""
    packets = total = flows = 0
    for value in per_cpu:
        a, b, c = COUNT.unpack_from(value, index * COUNT.size)
        packets, total, flows = packets + a, total + b, flows + c
    return Count(packets, total, flows)


def prefix_key(key: int, length: int) -> bytes:
    """A longest-prefix-match key from a 128-bit address key and its prefix length."""
    return PREFIX.pack(length, key.to_bytes(16, "big"))


def listener_slot(worker: int, *, udp: bool, v6: bool) -> int:
    """The index of a worker's listening socket in the map `listeners`."""
    return worker * 4 + udp + 2 * v6
