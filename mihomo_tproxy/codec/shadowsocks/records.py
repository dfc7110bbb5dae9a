"""The records of a Shadowsocks stream, the same in SIP004 and SIP022.

    | length 2, tag 16 | payload, tag 16 | length 2, tag 16 | ...

Each of these is sealed under one key, with a nonce that counts them, little-endian. Payloads have
16,383 bytes at most in SIP004, 65,535 in SIP022.

Invariants: at most one record that is not complete is held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag

from mihomo_tproxy.codec.shadowsocks.ciphers import TAG_BYTES
from mihomo_tproxy.errors import AuthenticationFailed, RemoteProtocolError

if TYPE_CHECKING:
    from mihomo_tproxy.codec.layer import Buffer
    from mihomo_tproxy.codec.shadowsocks.ciphers import Aead

MAX_PAYLOAD: Final = 0x3FFF
MAX_PAYLOAD_2022: Final = 0xFFFF
LENGTH_BYTES: Final = 2 + TAG_BYTES
RECORD_BYTES: Final = LENGTH_BYTES + TAG_BYTES
"""What a record adds to its payload."""


class Sealer:
    """Our direction's records."""

    __slots__ = ("_aead", "_count", "_limit", "_nonce_bytes")

    def __init__(self, aead: Aead, nonce_bytes: int, limit: int) -> None:
        self._aead = aead
        self._nonce_bytes = nonce_bytes
        self._limit = limit
        self._count = 0

    def seal_part(self, data: Buffer) -> bytes:
        """One sealed piece with no length before it: a header's."""
        count = self._count
        self._count = count + 1
        return self._aead.encrypt(count.to_bytes(self._nonce_bytes, "little"), data, None)

    def seal(self, payload: Buffer, before: bytes = b"") -> bytearray:
        """`before`, and the payload in as few records as can be, of like size."""
        view = memoryview(payload)
        size = len(view)
        records = -(-size // self._limit)
        at = len(before)
        wire = bytearray(at + size + records * RECORD_BYTES)
        out = memoryview(wire)
        out[:at] = before
        count, width = self._count, self._nonce_bytes
        encrypt_into = self._aead.encrypt_into
        step = -(-size // records) if records else 1
        for start in range(0, size, step):
            part = view[start : start + step]
            length = len(part)
            middle = at + LENGTH_BYTES
            end = middle + length + TAG_BYTES
            nonce = count.to_bytes(width, "little")
            encrypt_into(nonce, length.to_bytes(2, "big"), None, out[at:middle])
            nonce = (count + 1).to_bytes(width, "little")
            encrypt_into(nonce, part, None, out[middle:end])
            count += 2
            at = end
        self._count = count
        return wire


class Opener:
    """The server's direction's records."""

    __slots__ = ("_aead", "_count", "_held", "_limit", "_need", "_nonce_bytes", "_payload")

    def __init__(self, aead: Aead, nonce_bytes: int, limit: int) -> None:
        self._aead = aead
        self._nonce_bytes = nonce_bytes
        self._limit = limit
        self._count = 0
        self._held = bytearray()
        self._need = LENGTH_BYTES
        self._payload = False

    @property
    def between_records(self) -> bool:
        """Nothing is incomplete."""
        return not (self._held or self._payload)

    def open_part(self, data: Buffer) -> bytes:
        """One sealed piece that has no length before it: a header.

        Raises:
            AuthenticationFailed: it does not verify.
        """
        count = self._count
        self._count = count + 1
        try:
            return self._aead.decrypt(count.to_bytes(self._nonce_bytes, "little"), data, None)
        except InvalidTag:
            raise AuthenticationFailed("ss-auth-failed", "a header does not verify") from None

    def expect_payload(self, size: int) -> None:
        """A payload comes next, whose length is known from a header."""
        self._need = size + TAG_BYTES
        self._payload = True

    def open(self, data: Buffer) -> memoryview:
        """Take bytes; the payload of the records completed by them.

        Raises:
            AuthenticationFailed: a record does not verify.
            RemoteProtocolError: a record longer than there may be.
        """
        view = memoryview(data)
        held = self._held
        at = position = 0
        # A payload is shorter than its record, so what arrived is room enough.
        out = memoryview(bytearray(len(held) + len(view)))
        unit: Buffer | None = None
        if held:
            position = self._need - len(held)
            held += view[:position]
            if len(held) < self._need:
                return out[:0]
            unit = held
            self._held = bytearray()
        size = len(view)
        try:
            while True:
                if unit is None:
                    end = position + self._need
                    if end > size:
                        self._held += view[position:]
                        break
                    unit = view[position:end]
                    position = end
                at = self._open_unit(unit, out, at)
                unit = None
        except InvalidTag:
            raise AuthenticationFailed("ss-auth-failed", "a record does not verify") from None
        return out[:at]

    def _open_unit(self, unit: Buffer, out: memoryview, at: int) -> int:
        """Open a length or a payload; where the payload so far ends in `out`."""
        count = self._count
        self._count = count + 1
        nonce = count.to_bytes(self._nonce_bytes, "little")
        if self._payload:
            end = at + self._need - TAG_BYTES
            self._aead.decrypt_into(nonce, unit, None, out[at:end])
            self._payload = False
            self._need = LENGTH_BYTES
            return end
        length = self._aead.decrypt(nonce, unit, None)
        need = length[0] << 8 | length[1]
        if need > self._limit:
            raise RemoteProtocolError("ss-bad-header", f"a record of {need} bytes")
        self._need = need + TAG_BYTES
        self._payload = True
        return at
