"""Streams of the 2022 edition (shadowsocks.org/doc/sip022.html, sip023.html).

    request    salt | identity 16 ... | sealed: type 0, time 8, length 2
                    | sealed: address (SOCKS), padding length 2, padding, payload | records
    response   salt | sealed: type 1, time 8, the request's salt, length 2
                    | sealed: payload | records

Lengths, and the time in seconds, are big-endian. The length is that of the next sealed piece. Each
identity names the next key under the one before. A request has a payload or a padding. What the
response repeats of the request makes the response of another connection worthless here; its time
is good for 30 seconds.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from mihomo_tproxy.codec.address import encode_socks_address
from mihomo_tproxy.codec.layer import Layer
from mihomo_tproxy.codec.shadowsocks.aead import check_end
from mihomo_tproxy.codec.shadowsocks.ciphers import TAG_BYTES
from mihomo_tproxy.codec.shadowsocks.kdf import identity_subkey, session_subkey
from mihomo_tproxy.codec.shadowsocks.records import MAX_PAYLOAD_2022, Opener, Sealer
from mihomo_tproxy.errors import RemoteProtocolError, ReplayDetected

if TYPE_CHECKING:
    from mihomo_tproxy.codec.layer import Buffer
    from mihomo_tproxy.codec.shadowsocks.profile import Profile

MAX_CLOCK_SKEW_S: Final = 30
MAX_PADDING: Final = 900
TYPE_REQUEST: Final = 0
TYPE_RESPONSE: Final = 1
_FIXED: Final = Struct(">BQH")
_TIMES: Final = Struct(">BQ")
_MAX_FIRST: Final = MAX_PAYLOAD_2022 - 1024
"""Payload that goes into the header, so that with an address it has a length still."""


class Aead2022Stream(Layer):
    """Our side of one stream to a destination."""

    __slots__ = ("_address", "_finished", "_held", "_opener", "_profile", "_salt", "_sealer")

    def __init__(self, profile: Profile, host: str, port: int) -> None:
        """Raises LocalProtocolError when the host cannot be written."""
        super().__init__()
        self._profile = profile
        self._address = encode_socks_address(host, port)
        self._salt = b""
        self._sealer: Sealer | None = None
        self._opener: Opener | None = None
        self._held = bytearray()
        self._finished = False

    def seal(self, payload: Buffer) -> Buffer:
        """The records of payload, the first part of it in the request's header."""
        if self._sealer is not None:
            return self._sealer.seal(payload) if payload else b""
        head = self._request(payload[:_MAX_FIRST])
        rest = payload[_MAX_FIRST:]
        assert self._sealer is not None  # noqa: S101 - made by _request
        return self._sealer.seal(rest, head) if rest else head

    def _request(self, payload: Buffer) -> bytes:
        profile = self._profile
        method = profile.method
        self._salt = salt = profile.random(method.key_bytes)
        aead = method.cipher(session_subkey(profile.key, salt))
        self._sealer = sealer = Sealer(aead, method.nonce_bytes, MAX_PAYLOAD_2022)
        identities = b""
        for key, following in profile.identities:
            cipher = Cipher(AES(identity_subkey(key, salt)), ECB())  # noqa: S305 # SIP023: one block
            identities += cipher.encryptor().update(following)
        header = self._address + make_padding(profile, len(payload)) + payload
        fixed = _FIXED.pack(TYPE_REQUEST, int(profile.now()), len(header))
        return salt + identities + sealer.seal_part(fixed) + sealer.seal_part(header)

    def feed(self, data: Buffer) -> Buffer:
        """Take wire bytes; the payload of the records completed by them.

        Raises:
            AuthenticationFailed: another key, or what came was tampered with.
            RemoteProtocolError: no response, or one of a clock that is wrong.
            ReplayDetected: the response to another request.
        """
        if self._opener is not None:
            return self._opener.open(data)
        profile = self._profile
        size = profile.method.key_bytes
        missing = size + _FIXED.size + size + TAG_BYTES - len(self._held)
        self._held += data[:missing]
        if len(data) < missing:
            return b""
        self._opener = opener = self._response(bytes(self._held[:size]), self._held[size:])
        self._held.clear()
        return opener.open(memoryview(data)[missing:])

    def _response(self, salt: bytes, sealed: Buffer) -> Opener:
        profile = self._profile
        method = profile.method
        aead = method.cipher(session_subkey(profile.key, salt))
        opener = Opener(aead, method.nonce_bytes, MAX_PAYLOAD_2022)
        header = opener.open_part(sealed)
        kind, time = _TIMES.unpack_from(header)
        check_times(kind, time, TYPE_RESPONSE, profile.now())
        if header[_TIMES.size : -2] != self._salt:
            raise ReplayDetected("ss-replay", "the response to another request")
        opener.expect_payload(header[-2] << 8 | header[-1])
        return opener

    def feed_eof(self) -> None:
        """The wire ended.

        Raises:
            RemoteProtocolError: there was no answer though we could have got one still (servers
                treat a wrong password so), or something is incomplete.
        """
        check_end(self._opener, self._held, self._finished)

    def finish(self) -> Buffer:
        """The request, if it waits still."""
        self._finished = True
        return self.seal(b"")


def check_times(kind: int, time: int, wanted: int, now: float) -> None:
    """What headers of streams and datagrams begin with: a type, and the time.

    Raises:
        RemoteProtocolError: another type, or too old or too new.
    """
    if kind != wanted:
        raise RemoteProtocolError("ss-bad-header", f"type {kind}")
    if abs(time - now) > MAX_CLOCK_SKEW_S:
        raise RemoteProtocolError("ss-timestamp", f"{time - now:.0f} s off our clock")


def make_padding(profile: Profile, payload_bytes: int) -> bytes:
    """Random bytes behind their length, for a payload whose own length they hide."""
    if payload_bytes >= MAX_PADDING:
        return b"\0\0"
    number = profile.random(2)
    size = 1 + (number[0] << 8 | number[1]) % (MAX_PADDING - payload_bytes)
    return size.to_bytes(2, "big") + profile.random(size)
