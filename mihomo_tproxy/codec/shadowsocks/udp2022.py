"""Datagrams of the 2022 edition (shadowsocks.org/doc/sip022.html, sip023.html).

    AES      | AES block: session 8, packet 8 | identity 16 ... | sealed: main header, payload |
    ChaCha   | nonce 24 | sealed: session 8, packet 8, main header, payload |

    main header   type 0, time 8,                     padding length 2, padding, address (SOCKS)
                  type 1, time 8, client's session 8, padding length 2, padding, address (SOCKS)

Type 0 is ours, type 1 the server's; identities are on ours only. With AES the key is the session's
and the nonce the last 12 bytes of the header in clear; a response's header is under the user's
key, a request's under the first key. With ChaCha the key is the server's, the nonce random.

Invariants: a packet id of a server's session is taken once (RFC 6479); there are two sessions of
the server at most, its present one and the one before, so that a restart is survived; only what
verified changes anything.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from mihomo_tproxy.codec.address import encode_socks_address
from mihomo_tproxy.codec.shadowsocks.aead2022 import (
    MAX_PADDING,
    TYPE_REQUEST,
    TYPE_RESPONSE,
    check_times,
    make_padding,
)
from mihomo_tproxy.codec.shadowsocks.ciphers import X_NONCE_BYTES, XChaCha20Poly1305
from mihomo_tproxy.codec.shadowsocks.kdf import session_subkey
from mihomo_tproxy.codec.shadowsocks.replay import ReplayWindow
from mihomo_tproxy.codec.shadowsocks.udp import parse_packet
from mihomo_tproxy.errors import AuthenticationFailed, RemoteProtocolError, ReplayDetected

if TYPE_CHECKING:
    from mihomo_tproxy.codec.layer import Buffer, Packet
    from mihomo_tproxy.codec.shadowsocks.ciphers import Aead
    from mihomo_tproxy.codec.shadowsocks.profile import Profile

SESSION_CHANGE_S: Final = 60.0
"""A third session of the server is refused until the one before the present was silent so long."""
_SESSION_BYTES: Final = 8
_ID_BYTES: Final = 16
_DNS_PORT: Final = 53
_REQUEST: Final = Struct(">BQ")
_RESPONSE: Final = Struct(">BQ8sH")


class _Session:
    """One of the server's."""

    __slots__ = ("aead", "identity", "seen", "window")

    def __init__(self, identity: bytes, aead: Aead) -> None:
        self.identity = identity
        self.aead = aead
        self.window = ReplayWindow()
        self.seen = 0.0


class _Packets:
    """What both ciphers' datagrams have in common: sessions and main headers."""

    __slots__ = ("_before", "_count", "_identity", "_present", "_profile")

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._identity = profile.random(_SESSION_BYTES)
        self._count = 0
        self._present: _Session | None = None
        self._before: _Session | None = None

    def _header(self) -> bytes:
        """Session and packet id of the next datagram."""
        count = self._count
        self._count = count + 1
        return self._identity + count.to_bytes(8, "big")

    def _main(self, size: int, host: str, port: int) -> bytes:
        """The main header of a datagram of `size` bytes. Queries hide their length in a padding."""
        profile = self._profile
        padded = port == _DNS_PORT and size < MAX_PADDING
        padding = make_padding(profile, size) if padded else b"\0\0"
        times = _REQUEST.pack(TYPE_REQUEST, int(profile.now()))
        return times + padding + encode_socks_address(host, port)

    def _session(self, identity: bytes) -> _Session:
        """The server's session of that id, a new one if need be."""
        for session in (self._present, self._before):
            if session is not None and session.identity == identity:
                return session
        before = self._before
        if before is not None and self._profile.now() - before.seen < SESSION_CHANGE_S:
            raise RemoteProtocolError("ss-udp-session", "a third session of the server")
        return _Session(identity, self._aead(identity))

    def _aead(self, identity: bytes) -> Aead:
        raise NotImplementedError

    def _accept(self, session: _Session, number: int, plain: bytes, start: int) -> Packet:
        """What follows the ids in a datagram that verified."""
        if len(plain) < start + _RESPONSE.size:
            raise RemoteProtocolError("ss-bad-header", f"{len(plain)} bytes")
        now = self._profile.now()
        kind, time, client, padding = _RESPONSE.unpack_from(plain, start)
        check_times(kind, time, TYPE_RESPONSE, now)
        if client != self._identity:
            raise ReplayDetected("ss-replay", "the response to another session")
        packet = parse_packet(plain, start + _RESPONSE.size + padding)
        session.window.mark(number)
        session.seen = now
        if session is not self._present and session is not self._before:
            self._before = self._present
            self._present = session
        return packet


class AesPackets(_Packets):
    """Datagrams to and from any remote, the AES methods."""

    __slots__ = ("_identities", "_open_block", "_seal", "_seal_block")

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        blocks = [
            (Cipher(AES(key), ECB()).encryptor(), int.from_bytes(following, "big"))  # noqa: S305
            for key, following in profile.identities
        ]
        self._identities = blocks
        own = Cipher(AES(profile.key), ECB())  # noqa: S305 # SIP022: one block, its ids unique
        self._seal_block = blocks[0][0] if blocks else own.encryptor()
        self._open_block = own.decryptor()
        self._seal = self._aead(self._identity)

    def seal(self, data: Buffer, host: str, port: int) -> Buffer:
        """The wire's datagram of one of ours.

        Raises:
            LocalProtocolError: the host cannot be written.
        """
        main = self._main(len(data), host, port)
        header = self._header()
        wire = self._seal_block.update(header)
        for block, following in self._identities:
            name = following ^ int.from_bytes(header, "big")
            wire += block.update(name.to_bytes(_ID_BYTES, "big"))
        return wire + self._seal.encrypt(header[4:], main + data, None)

    def open(self, data: Buffer) -> Packet:
        """Our datagram of one of the wire's.

        Raises:
            AuthenticationFailed: it does not verify.
            RemoteProtocolError: it is no response, or of a clock that is wrong.
            ReplayDetected: it was here before, or is not for us.
        """
        view = memoryview(data)
        if len(view) < _ID_BYTES:
            raise RemoteProtocolError("ss-bad-header", f"{len(view)} bytes")
        header = self._open_block.update(view[:_ID_BYTES])
        session = self._session(header[:_SESSION_BYTES])
        number = int.from_bytes(header[_SESSION_BYTES:], "big")
        if not session.window.is_new(number):
            raise ReplayDetected("ss-replay", "a packet id seen before")
        try:
            plain = session.aead.decrypt(header[4:], view[_ID_BYTES:], None)
        except InvalidTag:
            raise AuthenticationFailed("ss-auth-failed", "a datagram does not verify") from None
        return self._accept(session, number, plain, 0)

    def _aead(self, identity: bytes) -> Aead:
        return self._profile.method.cipher(session_subkey(self._profile.key, identity))


class ChaChaPackets(_Packets):
    """Datagrams to and from any remote, the ChaCha method."""

    __slots__ = ("_cipher",)

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        self._cipher = XChaCha20Poly1305(profile.key)

    def seal(self, data: Buffer, host: str, port: int) -> Buffer:
        """The wire's datagram of one of ours.

        Raises:
            LocalProtocolError: the host cannot be written.
        """
        main = self._main(len(data), host, port)
        nonce = self._profile.random(X_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, self._header() + main + data, None)

    def open(self, data: Buffer) -> Packet:
        """Our datagram of one of the wire's.

        Raises:
            AuthenticationFailed: it does not verify.
            RemoteProtocolError: it is no response, or of a clock that is wrong.
            ReplayDetected: it was here before, or is not for us.
        """
        view = memoryview(data)
        if len(view) < X_NONCE_BYTES:
            raise RemoteProtocolError("ss-bad-header", f"{len(view)} bytes")
        try:
            plain = self._cipher.decrypt(view[:X_NONCE_BYTES], view[X_NONCE_BYTES:], None)
        except InvalidTag:
            raise AuthenticationFailed("ss-auth-failed", "a datagram does not verify") from None
        session = self._session(plain[:_SESSION_BYTES])
        number = int.from_bytes(plain[_SESSION_BYTES:_ID_BYTES], "big")
        if not session.window.is_new(number):
            raise ReplayDetected("ss-replay", "a packet id seen before")
        return self._accept(session, number, plain, _ID_BYTES)

    def _aead(self, identity: bytes) -> Aead:
        return self._cipher
