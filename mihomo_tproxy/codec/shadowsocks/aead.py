"""Streams of Shadowsocks' AEAD ciphers (SIP004, SIP007: shadowsocks.org/doc/aead.html).

    request    salt | records: address (SOCKS), payload
    response   salt | records: payload

The salt is as long as the key, and makes the key of its direction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.codec.address import encode_socks_address
from mihomo_tproxy.codec.layer import Layer
from mihomo_tproxy.codec.shadowsocks.kdf import aead_subkey
from mihomo_tproxy.codec.shadowsocks.records import MAX_PAYLOAD, Opener, Sealer
from mihomo_tproxy.errors import NoAnswer, RemoteProtocolError, ReplayDetected

if TYPE_CHECKING:
    from mihomo_tproxy.codec.layer import Buffer
    from mihomo_tproxy.codec.shadowsocks.profile import Profile


class AeadStream(Layer):
    """Our side of one stream to a destination."""

    __slots__ = ("_address", "_finished", "_held", "_opener", "_profile", "_salt", "_sealer")

    def __init__(self, profile: Profile, host: str, port: int) -> None:
        """Raises LocalProtocolError when the host cannot be written."""
        super().__init__()
        self._profile = profile
        self._address = encode_socks_address(host, port)
        """b"" once it was sent."""
        self._salt = b""
        self._sealer: Sealer | None = None
        self._opener: Opener | None = None
        self._held = b""
        self._finished = False

    def seal(self, payload: Buffer) -> Buffer:
        """The records of payload, the first behind salt and address."""
        if self._sealer is not None:
            return self._sealer.seal(payload) if payload else b""
        profile = self._profile
        method = profile.method
        self._salt = salt = profile.random(method.key_bytes)
        aead = method.cipher(aead_subkey(profile.key, salt))
        self._sealer = Sealer(aead, method.nonce_bytes, MAX_PAYLOAD)
        return self._sealer.seal(self._address + payload, salt)

    def feed(self, data: Buffer) -> Buffer:
        """Take wire bytes; the payload of the records completed by them.

        Raises:
            AuthenticationFailed: another key, or what came was tampered with.
            RemoteProtocolError: a record longer than there may be.
            ReplayDetected: our own words.
        """
        if self._opener is not None:
            return self._opener.open(data)
        profile = self._profile
        method = profile.method
        missing = method.key_bytes - len(self._held)
        self._held += data[:missing]
        if len(data) < missing:
            return b""
        if self._held == self._salt:
            raise ReplayDetected("ss-replay", "the server's salt is ours")
        aead = method.cipher(aead_subkey(profile.key, self._held))
        self._opener = opener = Opener(aead, method.nonce_bytes, MAX_PAYLOAD)
        return opener.open(memoryview(data)[missing:])

    def feed_eof(self) -> None:
        """The wire ended.

        Raises:
            RemoteProtocolError: there was no answer though we could have got one still (servers
                treat a wrong password so), or a record is incomplete.
        """
        check_end(self._opener, self._held, self._finished)

    def finish(self) -> Buffer:
        """The request, if it waits still."""
        self._finished = True
        return self.seal(b"")


def check_end(opener: Opener | None, held: Buffer, finished: bool) -> None:
    """Whether a response may end here.

    Raises:
        RemoteProtocolError: it may not.
    """
    if opener is None and not held:
        if finished:
            # An upload that has no answer: servers put their salt before the first payload.
            return
        raise NoAnswer("ss-no-answer", "the server ended without an answer")
    if opener is None or not opener.between_records:
        raise RemoteProtocolError("ss-cut-short", "the wire ended within a record")
