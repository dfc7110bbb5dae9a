"""The methods of Shadowsocks and their ciphers.

    edition   method                          key, salt   nonce
    AEAD      aes-{128,192,256}-gcm           16, 24, 32  12 bytes, a counter
              chacha20-ietf-poly1305          32          12 bytes, a counter
              xchacha20-ietf-poly1305         32          24 bytes, a counter
    2022      2022-blake3-aes-{128,256}-gcm   16, 32      12 bytes, a counter
              2022-blake3-chacha20-poly1305   32          12 bytes; datagrams: XChaCha20, random
    none      none, plain, dummy              no encryption at all

XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) is ChaCha20-Poly1305 with a key that HChaCha20 makes
of the first 16 bytes of the nonce. HChaCha20 is ChaCha20's block without the addition of the
initial state at its end: that block, the words whose initial state is public taken off again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from struct import Struct
from typing import TYPE_CHECKING, Final, Protocol

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.ciphers import CipherContext

    from mihomo_tproxy.codec.layer import Buffer

TAG_BYTES: Final = 16
X_NONCE_BYTES: Final = 24
_WORDS: Final = Struct("<16I")
_KEY_WORDS: Final = Struct("<8I")
_NONCE_WORDS: Final = Struct("<4I")
_CONSTANTS: Final = _NONCE_WORDS.unpack(b"expand 32-byte k")
_MASK: Final = 0xFFFFFFFF
_ZERO_BLOCK: Final = bytes(64)
_X_PREFIX: Final = bytes(4)


class Aead(Protocol):
    """What all ciphers here can do."""

    def encrypt(self, nonce: Buffer, data: Buffer, associated_data: None) -> bytes:
        """Ciphertext and tag."""

    def encrypt_into(self, nonce: Buffer, data: Buffer, associated_data: None, buf: Buffer) -> int:
        """Put ciphertext and tag into a buffer of just that size."""

    def decrypt(self, nonce: Buffer, data: Buffer, associated_data: None) -> bytes:
        """The plaintext.

        Raises:
            InvalidTag: it does not verify.
        """

    def decrypt_into(self, nonce: Buffer, data: Buffer, associated_data: None, buf: Buffer) -> int:
        """Put the plaintext into a buffer of just that size.

        Raises:
            InvalidTag: it does not verify.
        """


class HChaCha20:
    """Makes keys of one key and nonces of 16 bytes."""

    __slots__ = ("_block", "_key")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._block: CipherContext | None = None
        """One context for all nonces: to make one costs as much as the rest of a datagram."""

    def derive(self, nonce: bytes) -> bytes:
        """The key of a nonce."""
        block = self._block
        if block is None:
            block = self._block = Cipher(ChaCha20(self._key, nonce), None).encryptor()
        else:
            block.reset_nonce(nonce)
        words = _WORDS.unpack(block.update(_ZERO_BLOCK))
        n0, n1, n2, n3 = _NONCE_WORDS.unpack(nonce)
        c0, c1, c2, c3 = _CONSTANTS
        return _KEY_WORDS.pack(
            words[0] - c0 & _MASK,
            words[1] - c1 & _MASK,
            words[2] - c2 & _MASK,
            words[3] - c3 & _MASK,
            words[12] - n0 & _MASK,
            words[13] - n1 & _MASK,
            words[14] - n2 & _MASK,
            words[15] - n3 & _MASK,
        )


class XChaCha20Poly1305:
    """ChaCha20-Poly1305 with nonces of 24 bytes."""

    __slots__ = ("_keys",)

    def __init__(self, key: bytes) -> None:
        self._keys = HChaCha20(key)

    def encrypt(self, nonce: Buffer, data: Buffer, associated_data: None) -> bytes:
        """Ciphertext and tag."""
        cipher, rest = self._cipher(bytes(nonce))
        return cipher.encrypt(rest, data, None)

    def encrypt_into(self, nonce: Buffer, data: Buffer, associated_data: None, buf: Buffer) -> int:
        """Put ciphertext and tag into a buffer of just that size."""
        cipher, rest = self._cipher(bytes(nonce))
        return cipher.encrypt_into(rest, data, None, buf)

    def decrypt(self, nonce: Buffer, data: Buffer, associated_data: None) -> bytes:
        """The plaintext.

        Raises:
            InvalidTag: it does not verify.
        """
        cipher, rest = self._cipher(bytes(nonce))
        return cipher.decrypt(rest, data, None)

    def decrypt_into(self, nonce: Buffer, data: Buffer, associated_data: None, buf: Buffer) -> int:
        """Put the plaintext into a buffer of just that size.

        Raises:
            InvalidTag: it does not verify.
        """
        cipher, rest = self._cipher(bytes(nonce))
        return cipher.decrypt_into(rest, data, None, buf)

    def _cipher(self, nonce: bytes) -> tuple[ChaCha20Poly1305, bytes]:
        return ChaCha20Poly1305(self._keys.derive(nonce[:16])), _X_PREFIX + nonce[16:]


class Edition(Enum):
    """How a method frames."""

    NONE = "none"
    AEAD = "SIP004"
    AEAD_2022 = "SIP022"


@dataclass(frozen=True, slots=True)
class Method:
    """One line of the table."""

    name: str
    edition: Edition
    key_bytes: int = 0
    """Of the key and of the salt."""
    nonce_bytes: int = 12
    cipher: Callable[[bytes], Aead] = AESGCM
    aes: bool = False
    """SIP022: datagrams have a separate header, and there may be identities."""


_METHODS: Final = {
    method.name: method
    for method in (
        Method("aes-128-gcm", Edition.AEAD, 16),
        Method("aes-192-gcm", Edition.AEAD, 24),
        Method("aes-256-gcm", Edition.AEAD, 32),
        Method("chacha20-ietf-poly1305", Edition.AEAD, 32, cipher=ChaCha20Poly1305),
        Method("xchacha20-ietf-poly1305", Edition.AEAD, 32, X_NONCE_BYTES, XChaCha20Poly1305),
        Method("2022-blake3-aes-128-gcm", Edition.AEAD_2022, 16, aes=True),
        Method("2022-blake3-aes-256-gcm", Edition.AEAD_2022, 32, aes=True),
        Method("2022-blake3-chacha20-poly1305", Edition.AEAD_2022, 32, cipher=ChaCha20Poly1305),
        Method("none", Edition.NONE),
    )
}
METHODS: Final = tuple(_METHODS)
"""The names, as mihomo writes them."""
_ALIASES: Final = {
    "aead_aes_128_gcm": "aes-128-gcm",
    "aead_aes_192_gcm": "aes-192-gcm",
    "aead_aes_256_gcm": "aes-256-gcm",
    "aead_chacha20_poly1305": "chacha20-ietf-poly1305",
    "aead_xchacha20_poly1305": "xchacha20-ietf-poly1305",
    "chacha20-poly1305": "chacha20-ietf-poly1305",
    "xchacha20-poly1305": "xchacha20-ietf-poly1305",
    "plain": "none",
    "dummy": "none",
}


def find_method(name: str) -> Method | None:
    """The method of a name, in either case, or of one of its other names."""
    name = name.lower()
    return _METHODS.get(_ALIASES.get(name, name))
