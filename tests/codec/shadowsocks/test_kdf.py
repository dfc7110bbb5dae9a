"""Keys: by known answers, and against cryptography's own HKDF."""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from mihomo_tproxy.codec.shadowsocks.kdf import (
    aead_subkey,
    identity_hash,
    identity_subkey,
    password_key,
    session_subkey,
)


def test_the_key_of_a_password() -> None:
    # MD5 of "test", then of that and "test"
    first = "098f6bcd4621d373cade4e832627b4f6"
    assert password_key("test", 16).hex() == first
    assert password_key("test", 32).hex() == first + "0a9172716ae6428409885b8b829ccb05"
    assert password_key("test", 24) == password_key("test", 32)[:24]


@given(st.sampled_from([16, 24, 32]), st.data())
def test_hkdf(size: int, data) -> None:
    key, salt = (data.draw(st.binary(min_size=size, max_size=size)) for _ in range(2))
    assert aead_subkey(key, salt) == HKDF(SHA1(), size, salt, b"ss-subkey").derive(key)  # noqa: S303


def test_blake3_keys_differ_by_purpose() -> None:
    key, salt = bytes(32), bytes(range(32))
    assert len({session_subkey(key, salt), identity_subkey(key, salt), key}) == 3
    assert len(session_subkey(bytes(16), salt)) == 16
    # The hash of nothing, from BLAKE3's test vectors
    assert identity_hash(b"").hex() == "af1349b9f5f9a1a6a0404dea36dcc949"
