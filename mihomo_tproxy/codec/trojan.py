"""Trojan, the client's side, above TLS (trojan-gfw.github.io/trojan/protocol).

    request    | key 56 | CRLF | CMD 1 | ATYP, address, port | CRLF | payload ...
    datagram   | ATYP, address, port | length 2 | CRLF | payload |

The key is the SHA-224 of the password in lower-case hex; CMD is 1 for a stream, 3 for datagrams,
which then follow each other in both directions, each with its own remote: full cone. The server
answers nothing: it takes the request, or treats us as the visitor of a web site. So the request
waits for the first payload, and a stream's layer is transparent after it and the first bytes back.

Held: at most one unfinished datagram, 64 KiB and its head.

Causes: `trojan-no-answer`, `trojan-bad-datagram`, `trojan-datagram-too-long`, `trojan-truncated`,
and those of addresses, `bad-address` and `bad-name`.
"""

from __future__ import annotations

from hashlib import sha224
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.codec.address import encode_socks_address, parse_socks_address
from mihomo_tproxy.codec.layer import Layer, Packet, PacketLayer
from mihomo_tproxy.errors import LocalProtocolError, NoAnswer, RemoteProtocolError

if TYPE_CHECKING:
    from mihomo_tproxy.codec.layer import Buffer

CONNECT: Final = b"\x01"
UDP_ASSOCIATE: Final = b"\x03"
MAX_SENT_BYTES: Final = 8192
"""The longest datagram that trojan, v2ray and mihomo take; for a longer one they hang up, and every
other remote of the same client port would go with it."""

_CRLF: Final = b"\r\n"


def trojan_key(password: str) -> bytes:
    """What a password is on the wire."""
    return sha224(password.encode()).hexdigest().encode()


class TrojanStream(Layer):
    """A stream to one destination."""

    __slots__ = ("_answered", "_finished", "_request")

    def __init__(self, key: bytes, host: str, port: int) -> None:
        """`key` is `trojan_key`'s.

        Raises:
            LocalProtocolError: the host cannot be written.
        """
        super().__init__()
        self._request = _request(key, CONNECT, host, port)
        self._answered = False
        self._finished = False

    def seal(self, payload: Buffer) -> Buffer:
        """The payload, after the request when it is the first."""
        request = self._request
        if not request:
            return payload
        self._request = b""
        self.transparent = self._answered
        return b"".join((request, payload))

    def feed(self, data: Buffer) -> Buffer:
        """The payload, as it came: there is no response."""
        if not self._answered and data:
            self._answered = True
            self.transparent = not self._request
        return data

    def feed_eof(self) -> None:
        """The wire ended.

        Raises:
            NoAnswer: before the first byte, while our side goes on.
        """
        if not self._answered and not self._finished:
            raise NoAnswer("trojan-no-answer", "a wrong password, or nothing was reached")

    def finish(self) -> Buffer:
        """Nothing: the end of the wire is the end of the payload."""
        self._finished = True
        return b""


class TrojanPackets(PacketLayer):
    """Datagrams to and from any number of remotes."""

    __slots__ = ("_held", "_request")

    def __init__(self, key: bytes, host: str, port: int) -> None:
        """`key` is `trojan_key`'s; the destination is the first datagram's.

        Raises:
            LocalProtocolError: the host cannot be written.
        """
        super().__init__()
        self._request = _request(key, UDP_ASSOCIATE, host, port)
        self._held = bytearray()

    def feed_packets(self, data: Buffer) -> list[Packet]:
        """Take payload of TLS; the datagrams completed by it.

        Raises:
            RemoteProtocolError: this is no datagram.
        """
        held = self._held
        if held:
            held += data
            data = held
        packets: list[Packet] = []
        start = 0
        while found := _parse(data, start):
            packet, start = found
            packets.append(packet)
        if data is held:
            del held[:start]
        elif start < len(data):
            held += memoryview(data)[start:]
        return packets

    def feed_eof(self) -> None:
        """The wire ended.

        Raises:
            RemoteProtocolError: in the middle of a datagram.
        """
        if self._held:
            raise RemoteProtocolError("trojan-truncated", "the end came within a datagram")

    def seal_packet(self, data: Buffer, host: str, port: int) -> Buffer:
        """One datagram, the first with the request before it.

        Raises:
            LocalProtocolError: it is too long for servers, or the host cannot be written.
        """
        size = len(data)
        if size > MAX_SENT_BYTES:
            raise LocalProtocolError("trojan-datagram-too-long", f"{size} bytes")
        address = encode_socks_address(host, port)
        request, self._request = self._request, b""
        return b"".join((request, address, size.to_bytes(2, "big"), _CRLF, data))


def _request(key: bytes, command: bytes, host: str, port: int) -> bytes:
    return b"".join((key, _CRLF, command, encode_socks_address(host, port), _CRLF))


def _parse(data: Buffer, start: int) -> tuple[Packet, int] | None:
    """A datagram and where it ends; None while bytes are missing."""
    address = parse_socks_address(data, start)
    if address is None:
        return None
    host, port, at = address
    payload_at = at + 4
    if len(data) < payload_at:
        return None
    if data[at + 2 : payload_at] != _CRLF:
        raise RemoteProtocolError("trojan-bad-datagram", "no CRLF where one belongs")
    end = payload_at + (data[at] << 8 | data[at + 1])
    if len(data) < end:
        return None
    return Packet(bytes(data[payload_at:end]), host, port), end
