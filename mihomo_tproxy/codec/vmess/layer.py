"""VMess as layers: a stream, or datagrams with one chunk each.

The request header waits for the first payload. Payload may be sealed at once: the response header
comes whenever the server has something to say, with mihomo and sing-box together with the first
payload. A server that does not know us says nothing, and ends the connection sooner or later.
Without encryption a stream is transparent once the response header is through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from mihomo_tproxy.codec.address import encode_port_address
from mihomo_tproxy.codec.layer import Layer, Packet, PacketLayer
from mihomo_tproxy.codec.packet_addr import (
    MAGIC_HOST,
    MAGIC_PORT,
    encode_packet_address,
    parse_packet,
)
from mihomo_tproxy.codec.vmess.body import MAX_PACKET_PAYLOAD, ChunkOpener, ChunkSealer
from mihomo_tproxy.codec.vmess.header import (
    AUTHENTICATED_LENGTH,
    CHUNK_MASKING,
    CHUNK_STREAM,
    GLOBAL_PADDING,
    KEY_BYTES,
    SEAL_RANDOM_BYTES,
    Account,
    Command,
    ResponseHeader,
    Security,
    encode_instruction,
)
from mihomo_tproxy.errors import LocalProtocolError, NoAnswer, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mihomo_tproxy.codec.layer import Buffer

_IV_AT: Final = KEY_BYTES
_CODES_AT: Final = 2 * KEY_BYTES
_SEAL_AT: Final = _CODES_AT + 2
_RANDOM_BYTES: Final = _SEAL_AT + SEAL_RANDOM_BYTES


class Profile(NamedTuple):
    """How we speak to one server; made once for a proxy."""

    account: Account
    security: Security
    global_padding: bool
    authenticated_length: bool
    now: Callable[[], float]
    """Unix time in seconds."""
    random: Callable[[int], bytes]
    """That many bytes nobody can foresee."""

    def option(self, command: Command) -> int:
        """The options of a request."""
        if self.security is Security.NONE:
            return CHUNK_STREAM if command is Command.UDP else 0
        option = CHUNK_STREAM | CHUNK_MASKING
        if self.global_padding:
            option |= GLOBAL_PADDING
        if self.authenticated_length:
            option |= AUTHENTICATED_LENGTH
        return option


class VmessLayer(Layer):
    """One stream: to a destination, or with `host` "" a mux.cool one."""

    __slots__ = (
        "_finished", "_header", "_opener", "_option", "_profile", "_request", "_response",
        "_sealer",
    )  # fmt: skip

    def __init__(
        self, profile: Profile, host: str, port: int, command: Command | None = None
    ) -> None:
        """`command` is `TCP`, or `MUX` without a host, when it is not given.

        Raises:
            LocalProtocolError: the host cannot be written.
        """
        super().__init__()
        if command is None:
            command = Command.TCP if host else Command.MUX
        random = profile.random(_RANDOM_BYTES)
        key, iv = random[:_IV_AT], random[_IV_AT:_CODES_AT]
        check = random[_CODES_AT]
        option = profile.option(command)
        instruction = encode_instruction(
            key,
            iv,
            (check, option, profile.security, command),
            encode_port_address(host, port) if host else b"",
            random[_CODES_AT + 1] & 15,
        )
        self._header = profile.account.seal(instruction, int(profile.now()), random[_SEAL_AT:])
        """Until it left."""
        self._profile = profile
        self._option = option
        self._request = key, iv
        self._response: ResponseHeader | None = ResponseHeader(key, iv, check)
        self._sealer: ChunkSealer | None = None
        if option:
            self._sealer = ChunkSealer(profile.security, option, key, iv, profile.random)
        self._opener: ChunkOpener | None = None
        self._finished = False

    def feed(self, data: Buffer) -> Buffer:
        """Take wire bytes; the payload in them.

        Raises:
            AuthenticationFailed: the answer is not to us, or was tampered with.
            RemoteProtocolError: it is no VMess.
        """
        return self._open(data, None)

    def _open(self, data: Buffer, ends: list[int] | None) -> Buffer:
        response = self._response
        if response is not None:
            rest = response.feed(data)
            if rest is None:
                return b""
            self._begin_body(response)
            data = rest
        opener = self._opener
        if opener is None:
            return data
        payload = opener.open(data, ends)
        self.ended = opener.ended
        return payload

    def _begin_body(self, response: ResponseHeader) -> None:
        self._response = None
        if not self._option:
            self.transparent = True
            return
        self._opener = ChunkOpener(
            self._profile.security, self._option, (response.key, response.iv), self._request
        )

    def feed_eof(self) -> None:
        """The wire ended.

        Raises:
            RemoteProtocolError: there was no answer though we could have got one still, or a chunk
                is incomplete.
        """
        if self._response is not None and not self._finished:
            # After our end it is an upload that has no answer: servers put their header in front
            # of the first payload.
            raise NoAnswer("vmess-no-answer", "the server ended without an answer")
        if self._opener is not None and not self._opener.between_chunks:
            raise RemoteProtocolError("vmess-cut-short", "the wire ended within a chunk")

    def seal(self, payload: Buffer) -> Buffer:
        """The wire bytes of payload, behind the request header if it did not leave yet."""
        header, self._header = self._header, b""
        if self._sealer is not None:
            return self._sealer.seal(payload, header) if payload else header
        return header + payload if header else payload

    def finish(self) -> Buffer:
        """The chunk that ends the stream."""
        self._finished = True
        return self._seal_chunk(b"")

    def _seal_chunk(self, payload: Buffer) -> Buffer:
        header, self._header = self._header, b""
        if self._sealer is not None:
            return self._sealer.seal_chunk(payload, header)
        return header + payload


class VmessPacketLayer(VmessLayer, PacketLayer):
    """Datagrams to and from one remote."""

    __slots__ = ("_remote",)

    def __init__(self, profile: Profile, host: str, port: int) -> None:
        """Raises LocalProtocolError when the host cannot be written."""
        super().__init__(profile, host, port, Command.UDP)
        self._remote = host, port

    def feed_packets(self, data: Buffer) -> list[Packet]:
        """Take wire bytes; the datagrams completed by them.

        Raises:
            AuthenticationFailed: the answer is not to us, or was tampered with.
            RemoteProtocolError: it is no VMess.
        """
        host, port = self._remote
        return [Packet(payload, host, port) for payload in self._open_chunks(data)]

    def _open_chunks(self, data: Buffer) -> list[Buffer]:
        ends: list[int] = []
        payload = self._open(data, ends)
        if len(ends) == 1:
            return [payload]
        starts = [0, *ends]
        return [payload[start:end] for start, end in zip(starts, ends, strict=False)]

    def seal_packet(self, data: Buffer, host: str, port: int) -> Buffer:
        """The wire bytes of one datagram.

        Raises:
            LocalProtocolError: it is empty, too long, or not for the remote of the stream.
        """
        if (host, port) != self._remote:
            raise LocalProtocolError("vmess-other-remote", f"{host}:{port}, not the stream's")
        return self._seal_datagram(data)

    def _seal_datagram(self, data: Buffer) -> Buffer:
        if not data:
            raise LocalProtocolError("datagram-empty", "it would end the stream")
        if len(data) > MAX_PACKET_PAYLOAD:
            raise LocalProtocolError("datagram-too-long", f"{len(data)} bytes")
        return self._seal_chunk(data)


class VmessPacketAddrLayer(VmessPacketLayer):
    """Datagrams with their remotes: to packet-addr's magic host."""

    __slots__ = ()

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile, MAGIC_HOST, MAGIC_PORT)

    def feed_packets(self, data: Buffer) -> list[Packet]:
        """Take wire bytes; the datagrams completed by them.

        Raises:
            AuthenticationFailed: the answer is not to us, or was tampered with.
            RemoteProtocolError: it is no VMess, or a datagram has no address.
        """
        return [parse_packet(payload) for payload in self._open_chunks(data)]

    def seal_packet(self, data: Buffer, host: str, port: int) -> Buffer:
        """The wire bytes of one datagram.

        Raises:
            LocalProtocolError: it is too long, or the remote is a name.
        """
        return self._seal_datagram(encode_packet_address(host, port) + data)
