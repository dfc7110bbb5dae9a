"""The verdict cache as the relay sees it: decisions become kernel verdicts.

Proof obligation: the key holds all fields the decision depended on, stamped with the epoch of the
rules and of the groups' choices that decided; the kernel ignores every other epoch. So a verdict
found there is what the engine would decide for that flow. The key holds no other field, but for a
decision that depended on nothing: that one is held by the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mihomo_tproxy.dataplane.abi import VERDICT_KEY, VERDICT_VALUE
from mihomo_tproxy.model.enums import Network, Verdict
from mihomo_tproxy.model.fields import DST_ADDR, DST_PORT, NETWORK, PACKET, SRC_ADDR, SRC_PORT

if TYPE_CHECKING:
    from mihomo_tproxy.model.metadata import Metadata

IPPROTO = {Network.TCP: 6, Network.UDP: 17}
NO_ADDRESS = bytes(16)
NO_PORT = bytes(2)


class Table(Protocol):
    """The map, as far as it is needed here (`dataplane.bpf.Map`)."""

    def update(self, key: bytes, value: bytes) -> None:
        """Write an entry; raises OSError if the kernel does not take it."""


class KernelVerdicts:
    """`model.interfaces.VerdictMap` over the pinned map `verdicts`."""

    def __init__(self, verdicts: Table) -> None:
        self._map = verdicts
        self._masks: frozenset[int] = frozenset()
        self._epoch = 0
        self.learnt = 0
        self.failed = 0

    def configure(self, epoch: int, masks: tuple[int, ...]) -> None:
        """From now on verdicts are of this epoch, and only these masks are looked up."""
        self._epoch = epoch
        self._masks = frozenset(masks)

    def renew(self, epoch: int) -> None:
        """From now on verdicts are of this epoch: a group chose anew."""
        self._epoch = epoch

    def learn(self, metadata: Metadata, depends: int, verdict: Verdict) -> bool:
        """Cache a verdict; see `VerdictMap.learn`."""
        mask = depends or NETWORK
        if mask not in self._masks or mask & ~PACKET or not metadata.destination:
            return False
        try:
            self._map.update(self._key(metadata, mask), self._value(verdict))
        except OSError:
            self.failed += 1
            return False
        self.learnt += 1
        return True

    def _value(self, verdict: Verdict) -> bytes:
        return VERDICT_VALUE.pack(self._epoch, verdict)

    @staticmethod
    def _key(metadata: Metadata, mask: int) -> bytes:
        destination = metadata.destination_key() or 0
        return VERDICT_KEY.pack(
            metadata.source_key().to_bytes(16, "big") if mask & SRC_ADDR else NO_ADDRESS,
            destination.to_bytes(16, "big") if mask & DST_ADDR else NO_ADDRESS,
            metadata.source_port.to_bytes(2, "big") if mask & SRC_PORT else NO_PORT,
            metadata.destination_port.to_bytes(2, "big") if mask & DST_PORT else NO_PORT,
            IPPROTO[metadata.network] if mask & NETWORK else 0,
            mask,
        )
