"""Keys of Shadowsocks: from passwords, and for one stream or session from a salt.

password -> key      EVP_BytesToKey with MD5, no salt (shadowsocks.org/doc/aead.html)
key, salt -> subkey  SIP004: HKDF-SHA1 (RFC 5869) with "ss-subkey"
                     SIP022: BLAKE3 derive_key of key and salt
"""

from __future__ import annotations

from hashlib import md5, sha1
from typing import Final

from blake3 import blake3

IDENTITY_BYTES: Final = 16
_SESSION: Final = "shadowsocks 2022 session subkey"
_IDENTITY: Final = "shadowsocks 2022 identity subkey"
_BLOCK: Final = 64
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))
_INNER_PAD: Final = b"\x36" * _BLOCK
_OUTER_PAD: Final = b"\x5c" * _BLOCK
_FIRST: Final = b"ss-subkey\x01"
_SECOND: Final = b"ss-subkey\x02"
_HASH_BYTES: Final = 20


def password_key(password: str, size: int) -> bytes:
    """The key of `size` bytes that a password stands for."""
    text = password.encode()
    key = block = b""
    while len(key) < size:
        block = md5(block + text, usedforsecurity=False).digest()
        key += block
    return key[:size]


def aead_subkey(key: bytes, salt: bytes) -> bytes:
    """The key of a stream or a datagram of SIP004, as long as `key` (at most 40 bytes)."""
    # HMAC by its definition (RFC 2104): hashlib's and cryptography's objects cost twice as much,
    # and each datagram needs a key of its own.
    size = len(key)
    pad = _BLOCK - len(salt)
    inner, outer = salt.translate(_INNER), salt.translate(_OUTER)
    first = sha1(inner + _INNER_PAD[:pad] + key, usedforsecurity=False).digest()
    first = sha1(outer + _OUTER_PAD[:pad] + first, usedforsecurity=False).digest()
    pad = _BLOCK - _HASH_BYTES
    inner = first.translate(_INNER) + _INNER_PAD[:pad]
    outer = first.translate(_OUTER) + _OUTER_PAD[:pad]
    block = sha1(inner + _FIRST, usedforsecurity=False).digest()
    block = sha1(outer + block, usedforsecurity=False).digest()
    if size <= _HASH_BYTES:
        return block[:size]
    more = sha1(inner + block + _SECOND, usedforsecurity=False).digest()
    return (block + sha1(outer + more, usedforsecurity=False).digest())[:size]


def session_subkey(key: bytes, salt: bytes) -> bytes:
    """The key of a stream, or of a session of datagrams, of SIP022; as long as `key`."""
    return blake3(key + salt, derive_key_context=_SESSION).digest(length=len(key))


def identity_subkey(key: bytes, salt: bytes) -> bytes:
    """The key under which a stream names its next key (SIP023)."""
    return blake3(key + salt, derive_key_context=_IDENTITY).digest(length=len(key))


def identity_hash(key: bytes) -> bytes:
    """The name of a key (SIP023)."""
    return blake3(key).digest(length=IDENTITY_BYTES)
