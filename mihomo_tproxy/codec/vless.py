"""VLESS, our side (xtls.github.io/en/development/protocols/vless): a head each way, then raw bytes.

    request    | version 1 = 0 | user id 16 | addons length 1 = 0 | command 1 | port 2 | ATYP 1 |
               | address | payload ...
    response   | version 1 = 0 | addons length 1 | addons | payload ...

- command 1 is TCP, 2 UDP to one remote, 3 Mux.Cool, which has no port and address;
- the request leaves together with the first payload, and nobody waits for the response;
- UDP to one remote puts a length of 2 bytes before each datagram, both ways.

There are no addons of ours: they announce flow control (XTLS Vision). A server says nothing when it
refuses us or does not reach the destination: it ends the connection before a response, and we can
tell that from an empty answer only while we are not done ourselves.

Invariants: at most 256 bytes of a response are held; once it and the request are through, the layer
is transparent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mihomo_tproxy.codec.address import encode_port_address
from mihomo_tproxy.codec.frames import FramedPackets
from mihomo_tproxy.codec.layer import Layer, Packet
from mihomo_tproxy.codec.packet_addr import encode_packet_address, parse_packet
from mihomo_tproxy.errors import LocalProtocolError, NoAnswer, RemoteProtocolError

if TYPE_CHECKING:
    from mihomo_tproxy.codec.layer import Buffer

VERSION: Final = 0
TCP: Final = 1
UDP: Final = 2
MUX: Final = 3
MAX_DATAGRAM: Final = 16000
"""What sing-box and mihomo take: they end the stream at a longer one."""


def encode_request(user_id: bytes, command: int, host: str = "", port: int = 0) -> bytes:
    """The request of a user id of 16 bytes; host and port are left out for `MUX`.

    Raises:
        LocalProtocolError: the host cannot be written.
    """
    address = b"" if command == MUX else encode_port_address(host, port)
    return b"".join((b"\0", user_id, b"\0", bytes((command,)), address))


class VlessLayer(Layer):
    """One stream to what its request says."""

    __slots__ = ("_finished", "_held", "_request")

    def __init__(self, request: bytes) -> None:
        """`request` is one of `encode_request`."""
        super().__init__()
        self._request = request
        self._held: bytes | None = b""
        """What is there of the response; None: it is through."""
        self._finished = False

    def seal(self, payload: Buffer) -> Buffer:
        """The payload, after the request when it is the first."""
        request = self._request
        if not request:
            return payload
        self._request = b""
        self.transparent = self._held is None
        return request + payload

    def feed(self, data: Buffer) -> Buffer:
        """The payload in what arrived.

        Raises:
            RemoteProtocolError: it is no response.
        """
        if self._held is None:
            return data
        if self._held:
            data = self._held + data
        if data and data[0] != VERSION:
            raise RemoteProtocolError("vless-bad-response", f"version {data[0]}")
        have = len(data)
        end = 2 + data[1] if have > 1 else 2
        if have < end:
            self._held = bytes(data)
            return b""
        self._held = None
        self.transparent = not self._request
        return data[end:]

    def feed_eof(self) -> None:
        """The wire ended.

        Raises:
            RemoteProtocolError: within the response, or before it while our side goes on.
        """
        if self._held:
            raise RemoteProtocolError("vless-cut-short", "the wire ended within the response")
        if self._held is not None and not self._finished:
            raise NoAnswer(
                "vless-no-answer", "not this user id, or the destination was not reached"
            )

    def finish(self) -> Buffer:
        """Nothing: the end of the wire is the end of the payload."""
        self._finished = True
        return b""


class VlessPackets(FramedPackets):
    """Datagrams to and from the one remote of the stream, above a `VlessLayer` for `UDP`."""

    __slots__ = ("_remote",)

    def __init__(self, host: str, port: int) -> None:
        super().__init__()
        self._remote = (host, port)

    def seal_packet(self, data: Buffer, host: str, port: int) -> Buffer:
        """The frame of one datagram.

        Raises:
            LocalProtocolError: longer than `MAX_DATAGRAM`, or another remote than the stream's.
        """
        if (host, port) != self._remote:
            raise LocalProtocolError("vless-other-remote", f"{host}:{port}, not the stream's")
        return _frame(b"", data)

    def _take(self, data: bytes, start: int, packets: list[Packet]) -> int:
        end = _frame_end(data, start)
        if end <= len(data):
            packets.append(Packet(data[start + 2 : end], "", 0))
        return end


class VlessPacketAddr(FramedPackets):
    """Datagrams with their remotes, above a `VlessLayer` for `UDP` to packet-addr's magic host."""

    __slots__ = ()

    def seal_packet(self, data: Buffer, host: str, port: int) -> Buffer:
        """The frame of one datagram.

        Raises:
            LocalProtocolError: too long, or the remote is a name.
        """
        return _frame(encode_packet_address(host, port), data)

    def _take(self, data: bytes, start: int, packets: list[Packet]) -> int:
        end = _frame_end(data, start)
        if end <= len(data):
            packets.append(parse_packet(data[start + 2 : end]))
        return end


def _frame(head: bytes, data: Buffer) -> bytes:
    if len(data) > MAX_DATAGRAM:
        raise LocalProtocolError("datagram-too-long", f"{len(data)} bytes")
    return b"".join(((len(head) + len(data)).to_bytes(2, "big"), head, data))


def _frame_end(data: bytes, start: int) -> int:
    if len(data) - start < 2:
        return start + 2
    return start + 2 + (data[start] << 8 | data[start + 1])
