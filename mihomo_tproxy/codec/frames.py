"""Datagrams in frames of a stream: what VLESS, XUDP and the like have in common.

A subclass knows where its frame at some place ends; this keeps the bytes of an incomplete one.

Invariants: nothing is held but one incomplete frame and what came with it; a frame's bytes are
looked at a constant number of times, however they are cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.codec.layer import PacketLayer
from mihomo_tproxy.errors import RemoteProtocolError

if TYPE_CHECKING:
    from mihomo_tproxy.codec.layer import Buffer, Packet


class FramedPackets(PacketLayer):
    """The innermost layer of a stream that carries datagrams in frames."""

    __slots__ = ("_held", "_need")

    def __init__(self) -> None:
        super().__init__()
        self._held: bytearray | None = None
        self._need = 0

    def feed_packets(self, data: Buffer) -> list[Packet]:
        """Take wire bytes; the datagrams completed by them.

        Raises:
            RemoteProtocolError: what arrived is no frame.
            DestinationRefused: the server gives up on these datagrams.
        """
        packets: list[Packet] = []
        held = self._held
        if held is not None:
            held += data
            if len(held) < self._need:
                return packets
            self._held = None
            data = held
        if type(data) is not bytes:
            data = bytes(data)  # slices of it are datagrams: one copy here, none of a copy there
        start, have = 0, len(data)
        while start < have and not self.ended:
            end = self._take(data, start, packets)
            if end > have:
                self._held = bytearray(data[start:])
                self._need = end - start
                break
            start = end
        return packets

    def feed_eof(self) -> None:
        """The wire ended.

        Raises:
            RemoteProtocolError: within a frame.
        """
        if self._held is not None:
            raise RemoteProtocolError("frame-cut-short", f"{len(self._held)} of {self._need} bytes")

    def _take(self, data: bytes, start: int, packets: list[Packet]) -> int:
        """Adds the datagram of the frame at `start`, if it has one, and returns the frame's end.

        An end beyond `data` says how far it must reach to look at this frame again; nothing was
        taken then.
        """
        raise NotImplementedError
