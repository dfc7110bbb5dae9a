"""The contract of every protocol between a payload and the wire.

    payload --- layer n (vmess) --- ... --- layer 1 (websocket) --- layer 0 (tls) --- wire

A layer is our side of one connection, bytes in and bytes out. For the layer above, "the wire" is
the payload of the layer below. Who drives a layer (`transport.stack`, a flow, a test) does this:

- `begin()` once, when the layer below is ready;
- `feed(data)` with what arrived; it returns payload, b"" if there is none yet;
- `seal(payload)` once `ready`; it returns wire bytes. A header that waits for the first payload so
  that both leave together is part of what the first `seal` returns; `seal(b"")` flushes it, and is
  b"" when nothing waits;
- after `begin`, `feed` and `feed_eof`: if `output` is not b"", puts it on the wire, before anything
  sealed later, and sets it to b"";
- `feed_eof()` when the wire ended, `finish()` once when the payload of our side did.

Invariants of every layer: what a peer can make it hold is capped by a constant of its module; a
call does work linear in its argument; only `ProtocolError`s are raised, and after one the layer is
not used again; `data` and `payload` are read during the call only; what is returned is never
touched again by the layer.
"""

from __future__ import annotations

from typing import NamedTuple

Buffer = bytes | bytearray | memoryview


class Layer:
    """A layer that changes nothing; the base of those that do."""

    __slots__ = ("blocked", "ended", "output", "ready", "transparent")

    ends_below: bool = True
    """Whether the layer below is ended too, down to the FIN, after what `finish` returned. False:
    the end is told by `finish` alone, or cannot be told (WebSocket), and the wire stays open."""
    tells_end: bool = True
    """Whether the peer learns of the end of our side while it may still speak itself."""

    def __init__(self) -> None:
        self.ready = True
        """Payload may be sealed. Once true it stays true."""
        self.transparent = False
        """From now on nothing is changed in either direction and nothing is held: the layer may
        be taken out of the way."""
        self.blocked = False
        """The peer's flow control lets nothing more through, until a later `feed`: no more payload
        is read for `seal`, and what it still gets (64 KiB at most) the layer holds."""
        self.ended = False
        """The peer said, in the protocol, that no payload follows."""
        self.output = b""
        """Bytes of this layer's own for the wire: handshakes, pongs, window updates."""

    def begin(self) -> None:
        """The layer below is ready."""

    def feed(self, data: Buffer) -> Buffer:
        """Take wire bytes; the payload in them.

        Raises:
            ProtocolError: the peer breaks the protocol, refuses us, or is somebody else.
        """
        return data

    def feed_eof(self) -> None:
        """The wire ended.

        Raises:
            ProtocolError: in the middle of something.
        """

    def seal(self, payload: Buffer) -> Buffer:
        """The wire bytes of payload."""
        return payload

    def finish(self) -> Buffer:
        """The last bytes of our side."""
        return b""


class Packet(NamedTuple):
    """One datagram and its remote: the destination on the way up, the sender on the way down."""

    data: Buffer
    host: str
    """An IP literal or a domain name; "" where the protocol does not say: whoever was asked."""
    port: int


class PacketLayer(Layer):
    """The innermost layer of a stack that carries datagrams instead of a stream.

    `begin`, `output`, `ready`, `ended`, `feed_eof` and `finish` as of any layer; datagrams take the
    place of `feed` and `seal`, which are not called.
    """

    __slots__ = ()

    def feed_packets(self, data: Buffer) -> list[Packet]:
        """Take wire bytes; the datagrams completed by them.

        Raises:
            ProtocolError: the peer breaks the protocol, refuses us, or is somebody else.
        """
        raise NotImplementedError

    def seal_packet(self, data: Buffer, host: str, port: int) -> Buffer:
        """The wire bytes of one datagram.

        Raises:
            LocalProtocolError: the protocol cannot carry it (too long, or another remote than the
                one the stream is for).
        """
        raise NotImplementedError
