"""The KDF of VMess AEAD: HMACs nested along a path, the last one over the key.

    H0(x)   = HMAC(SHA-256, "VMess AEAD KDF", x)
    Hn(x)   = HMAC(H(n-1), path[n], x)
    KDF(key, path[1], ..., path[n]) = Hn(key)

github.com/v2fly/v2fly-github-io/issues/20. An HMAC is two hashes, so one of depth n is 2^(n+1)
SHA-256. What those begin with is the same for all derivations with one `path[1]`: it is hashed once
per `Kdf` and copied from then on.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final, NamedTuple

BLOCK_BYTES: Final = 64
"""Of SHA-256; keys of an HMAC, so parts of a path, are no longer than that here."""

_IPAD: Final = bytes(byte ^ 0x36 for byte in range(256))
_OPAD: Final = bytes(byte ^ 0x5C for byte in range(256))


def _pads(key: bytes) -> tuple[bytes, bytes]:
    """The key of an HMAC as its inner and its outer hash begin."""
    block = key.ljust(BLOCK_BYTES, b"\0")
    return block.translate(_IPAD), block.translate(_OPAD)


_ROOT_INNER, _ROOT_OUTER = map(sha256, _pads(b"VMess AEAD KDF"))
_copy_root_outer: Final = _ROOT_OUTER.copy


class Tail(NamedTuple):
    """The second and third part of a path, padded for any number of derivations."""

    inner_inner: bytes
    inner_outer: bytes
    outer: bytes

    @classmethod
    def of(cls, second: bytes, third: bytes) -> Tail:
        """Parts of at most `BLOCK_BYTES`."""
        second_inner, second_outer = _pads(second)
        third_inner, third_outer = _pads(third)
        return cls(second_inner + third_inner, second_inner + third_outer, second_outer)


class Kdf:
    """Derivations whose path begins with one salt."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, salt: bytes) -> None:
        inner, outer = _pads(salt)
        state = _ROOT_INNER.copy()
        state.update(inner)
        self._inner = state.copy
        state = _ROOT_INNER.copy()
        state.update(outer)
        self._outer = state.copy

    def derive(self, key: bytes) -> bytes:
        """KDF(key, salt), 32 bytes."""
        state = self._inner()
        state.update(key)
        outer = _copy_root_outer()
        outer.update(state.digest())
        state = self._outer()
        state.update(outer.digest())
        outer = _copy_root_outer()
        outer.update(state.digest())
        return outer.digest()

    def derive_along(self, key: bytes, tail: Tail) -> bytes:
        """KDF(key, salt, second, third), 32 bytes."""
        inner_inner, inner_outer, outer = tail
        derive = self.derive
        below = derive(outer + derive(inner_inner + key))
        return derive(outer + derive(inner_outer + below))
