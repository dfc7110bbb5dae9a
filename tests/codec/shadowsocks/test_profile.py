"""Passwords of both kinds."""

from __future__ import annotations

import base64

import pytest

from mihomo_tproxy.codec.shadowsocks.ciphers import find_method
from mihomo_tproxy.codec.shadowsocks.kdf import identity_hash, password_key
from mihomo_tproxy.codec.shadowsocks.profile import Profile, parse_password

AES = find_method("2022-blake3-aes-128-gcm")
A, B, C = (base64.b64encode(bytes([number] * 16)).decode() for number in (1, 2, 3))


def test_a_password() -> None:
    method = find_method("aes-192-gcm")
    assert parse_password(method, "a:b") == (password_key("a:b", 24),)


def test_identities() -> None:
    profile = Profile(AES, f"{A}:{B}:{C}", lambda: 0.0, bytes)
    one, two, three = (bytes([number] * 16) for number in (1, 2, 3))
    assert profile.key == three
    assert profile.identities == [(one, identity_hash(two)), (two, identity_hash(three))]
    assert Profile(AES, A, lambda: 0.0, bytes).identities == []


@pytest.mark.parametrize(
    ("method", "password", "says"),
    [
        (AES.name, "secret", "wants base64 of 16 bytes"),
        (AES.name, "sécret", "wants base64 of 16 bytes"),
        (AES.name, A + ":", "wants base64 of 16 bytes, found 0 bytes"),
        (AES.name, base64.b64encode(bytes(32)).decode(), "found 32 bytes"),
        ("2022-blake3-chacha20-poly1305", f"{A}:{B}", "has no identity keys"),
    ],
)
def test_no_keys(method: str, password: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_password(find_method(method), password)
