"""The body of VMess: a stream of chunks, or the payload as it is.

    chunk   | length 2 | sealed payload n+16 | padding p |        up to 65,535 bytes after `length`
        masked:         length = (n + 16 + p) XOR mask
        authenticated:  length = AEAD(n + p), 2+16 bytes
        mask, p:        16 bits each of SHAKE-128(IV), p modulo 64 and first, without GLOBAL_PADDING
                        there is no p

www.v2fly.org/developer/protocols/vmess.html. The nonce is a chunk counter of 16 bits, which starts
over at 0, and the IV from its third byte on. Authenticated lengths have a key made of the request's
key, and the request's IV, both ways. A chunk without payload ends the stream. Security `none` has
no chunks, for datagrams chunks of length and payload alone.

Options are set as mihomo sets them: masking always with AEAD, never without. SHAKE-128 piece by
piece needs OpenSSL 3.3, which the wheels of `cryptography` bring.
"""

from __future__ import annotations

from hashlib import md5, shake_128
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHAKE128, XOFHash

from mihomo_tproxy.codec.vmess.header import (
    AUTHENTICATED_LENGTH,
    CHUNK_MASKING,
    GLOBAL_PADDING,
    KEY_BYTES,
    TAG_BYTES,
    Security,
)
from mihomo_tproxy.codec.vmess.kdf import Kdf
from mihomo_tproxy.errors import AuthenticationFailed, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mihomo_tproxy.codec.layer import Buffer

MAX_CHUNK_PAYLOAD: Final = 16384
"""What we put into a chunk of a stream, as mihomo and sing-box do."""
MAX_FIRST_PAYLOAD: Final = 4096
"""And into its first one: mihomo's listener loses what is behind, as it peeks into the stream with
a buffer of that size."""
MAX_CHUNK_BYTES: Final = 65535
"""Of a chunk behind its length: what a peer can make us hold."""
PADDING_MODULUS: Final = 64
MAX_PACKET_PAYLOAD: Final = MAX_CHUNK_BYTES - TAG_BYTES - PADDING_MODULUS

_PLAIN_HEAD: Final = 2
_SEALED_HEAD: Final = 2 + TAG_BYTES
_SHAKE_BLOCK: Final = 168
"""What one permutation of SHAKE-128 gives."""
_LONG_BLOCK: Final = 5 * _SHAKE_BLOCK
_SHAKE: Final = XOFHash(SHAKE128(digest_size=0x7FFFFFFF))
_AUTH_LENGTH: Final = Kdf(b"auth_len")
_NOTHING: Final = memoryview(b"")

Aead = AESGCM | ChaCha20Poly1305


class Masks:
    """The numbers SHAKE-128 gives for an IV, 16 bits each."""

    __slots__ = ("_at", "_block", "_iv", "_shake")

    def __init__(self, iv: bytes) -> None:
        self._iv = iv
        # hashlib makes the first block, enough for 84 numbers, in a third of the time that a hash
        # which can be squeezed again takes to make; few streams need more.
        self._block = shake_128(iv).digest(_SHAKE_BLOCK)
        self._at = 0
        self._shake: XOFHash | None = None

    def next(self) -> int:
        """The next number."""
        at = self._at
        if at == len(self._block):
            self._refill()
            at = 0
        self._at = at + 2
        return self._block[at] << 8 | self._block[at + 1]

    def _refill(self) -> None:
        if self._shake is None:
            self._shake = _SHAKE.copy()
            self._shake.update(self._iv)
            self._shake.squeeze(_SHAKE_BLOCK)
        self._block = self._shake.squeeze(_LONG_BLOCK)


def aead(security: Security, key: bytes) -> Aead | None:
    """The cipher of a body or of its lengths, None for `Security.NONE`."""
    if security is Security.AES_128_GCM:
        return AESGCM(key)
    if security is Security.CHACHA20_POLY1305:
        half = md5(key, usedforsecurity=False).digest()
        return ChaCha20Poly1305(half + md5(half, usedforsecurity=False).digest())
    return None


def length_aead(security: Security, request_key: bytes) -> Aead | None:
    """The cipher of authenticated lengths, both ways."""
    return aead(security, _AUTH_LENGTH.derive(request_key)[:KEY_BYTES])


class ChunkSealer:
    """Our side of a body in chunks."""

    __slots__ = (
        "_aead", "_began", "_count", "_head", "_iv", "_lengths", "_masks", "_padded", "_random",
    )  # fmt: skip

    def __init__(
        self,
        security: Security,
        option: int,
        key: bytes,
        iv: bytes,
        random: Callable[[int], bytes],
    ) -> None:
        """`random` gives that many bytes of padding; `key` and `iv` are the request's."""
        self._aead = aead(security, key)
        self._lengths: Aead | None = None
        self._head = _PLAIN_HEAD
        if option & AUTHENTICATED_LENGTH:
            self._lengths = length_aead(security, key)
            self._head = _SEALED_HEAD
        self._masks = Masks(iv) if option & CHUNK_MASKING else None
        self._padded = bool(option & GLOBAL_PADDING)
        self._iv = iv[2:12]
        self._began = False
        self._count = 0
        self._random = random

    def seal(self, payload: Buffer, before: bytes = b"") -> Buffer:
        """`before`, and the payload in chunks of a stream."""
        view = memoryview(payload)
        size = len(view)
        out = self._room(len(before) + size, 2 + size // MAX_CHUNK_PAYLOAD)
        out[: len(before)] = before
        at = len(before)
        first = 0
        if size > MAX_FIRST_PAYLOAD and not self._began:
            first = MAX_FIRST_PAYLOAD
            at = self._seal(view[:first], out, at)
        self._began = True
        for start in range(first, size, MAX_CHUNK_PAYLOAD):
            at = self._seal(view[start : start + MAX_CHUNK_PAYLOAD], out, at)
        return out[:at]

    def seal_chunk(self, payload: Buffer, before: bytes = b"") -> Buffer:
        """`before`, and the payload in one chunk: a datagram, or with b"" the end of the stream."""
        out = self._room(len(before) + len(payload), 1)
        out[: len(before)] = before
        return out[: self._seal(memoryview(payload), out, len(before))]

    def _room(self, size: int, chunks: int) -> memoryview:
        padding = PADDING_MODULUS if self._padded else 0
        return memoryview(bytearray(size + chunks * (self._head + TAG_BYTES + padding)))

    def _seal(self, payload: memoryview, out: memoryview, at: int) -> int:
        """Put one chunk into `out`; where it ends."""
        size = len(payload) + (TAG_BYTES if self._aead is not None else 0)
        masks = self._masks
        padding = masks.next() % PADDING_MODULUS if self._padded and masks is not None else 0
        count = self._count
        nonce = count.to_bytes(2, "big") + self._iv
        self._count = count + 1 & 0xFFFF
        start = at + self._head
        if self._lengths is not None:
            length = (size - TAG_BYTES + padding).to_bytes(2, "big")
            self._lengths.encrypt_into(nonce, length, None, out[at:start])
        else:
            masked = size + padding ^ (masks.next() if masks is not None else 0)
            out[at] = masked >> 8
            out[at + 1] = masked & 0xFF
        end = start + size
        if self._aead is not None:
            self._aead.encrypt_into(nonce, payload, None, out[start:end])
        else:
            out[start:end] = payload
        if padding:
            out[end : end + padding] = self._random(padding)
        return end + padding


class ChunkOpener:
    """The peer's side of a body in chunks."""

    __slots__ = (
        "_aead", "_count", "_head", "_held", "_in_chunk", "_iv", "_length_iv", "_lengths",
        "_masks", "_need", "_padded", "_padding", "ended",
    )  # fmt: skip

    def __init__(
        self,
        security: Security,
        option: int,
        response: tuple[bytes, bytes],
        request: tuple[bytes, bytes],
    ) -> None:
        """`response` and `request` are the keys and IVs of the two bodies."""
        key, iv = response
        self._aead = aead(security, key)
        self._lengths: Aead | None = None
        self._head = _PLAIN_HEAD
        if option & AUTHENTICATED_LENGTH:
            self._lengths = length_aead(security, request[0])
            self._head = _SEALED_HEAD
        self._masks = Masks(iv) if option & CHUNK_MASKING else None
        self._padded = bool(option & GLOBAL_PADDING)
        self._iv = iv[2:12]
        self._length_iv = request[1][2:12]
        self._count = 0
        self._held = bytearray()
        self._in_chunk = False
        self._need = self._head
        self._padding = 0
        self.ended = False
        """The chunk that ends the stream was there; nothing is read any more."""

    @property
    def between_chunks(self) -> bool:
        """Nothing is incomplete."""
        return self.ended or not (self._held or self._in_chunk)

    def open(self, data: Buffer, ends: list[int] | None = None) -> memoryview:
        """Take bytes; the payload of the chunks completed by them.

        Args:
            data: what arrived.
            ends: takes where in the result each chunk's payload ends.

        Raises:
            AuthenticationFailed: a chunk does not verify.
            RemoteProtocolError: a chunk that cannot be one.
        """
        view = memoryview(data)
        at = position = room = 0
        unit: Buffer | None = None
        if self._held:
            position = self._need - len(self._held)
            self._held += view[:position]
            if len(self._held) < self._need:
                return _NOTHING
            unit, self._held = self._held, bytearray()
            room = self._need
        out = memoryview(bytearray(room + len(view)))
        while not self.ended:
            if unit is None:
                unit = view[position : position + self._need]
                if len(unit) < self._need:
                    self._held += unit
                    break
                position += self._need
            if self._in_chunk:
                at = self._open_chunk(memoryview(unit), out, at)
                if ends is not None and not self.ended:
                    ends.append(at)
            else:
                self._open_head(unit)
            unit = None
        return out[:at]

    def _open_head(self, head: Buffer) -> None:
        masks = self._masks
        padding = masks.next() % PADDING_MODULUS if self._padded and masks is not None else 0
        if self._lengths is not None:
            nonce = self._count.to_bytes(2, "big") + self._length_iv
            try:
                length = self._lengths.decrypt(nonce, head, None)
            except InvalidTag:
                raise _not_verified("length") from None
            size = (length[0] << 8 | length[1]) + TAG_BYTES
        else:
            size = (head[0] << 8 | head[1]) ^ (masks.next() if masks is not None else 0)
        least = padding + (TAG_BYTES if self._aead is not None else 0)
        if not least <= size <= MAX_CHUNK_BYTES:
            raise RemoteProtocolError("vmess-bad-chunk", f"{size} bytes, {padding} of padding")
        self.ended = not size
        self._padding = padding
        self._need = size
        self._in_chunk = True

    def _open_chunk(self, chunk: memoryview, out: memoryview, at: int) -> int:
        """Put the payload of one chunk into `out`; where it ends."""
        sealed = chunk[: len(chunk) - self._padding]
        count = self._count
        self._count = count + 1 & 0xFFFF
        self._in_chunk = False
        self._need = self._head
        if self._aead is None:
            end = at + len(sealed)
            out[at:end] = sealed
            return end
        end = at + len(sealed) - TAG_BYTES
        try:
            self._aead.decrypt_into(count.to_bytes(2, "big") + self._iv, sealed, None, out[at:end])
        except InvalidTag:
            raise _not_verified("payload") from None
        self.ended = end == at
        return end


def _not_verified(what: str) -> AuthenticationFailed:
    return AuthenticationFailed("vmess-bad-chunk", f"the {what} of a chunk does not verify")
