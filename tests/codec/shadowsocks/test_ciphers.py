"""The table, and XChaCha20-Poly1305 by the vectors of its draft."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidTag

from mihomo_tproxy.codec.shadowsocks.ciphers import (
    METHODS,
    TAG_BYTES,
    HChaCha20,
    XChaCha20Poly1305,
    find_method,
)

# draft-irtf-cfrg-xchacha-03, A.3.1; its associated data are not used here, so the tag is another.
KEY = bytes(range(0x80, 0xA0))
NONCE = bytes(range(0x40, 0x58))
TEXT = (
    b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
    b"sunscreen would be it."
)
CIPHERTEXT = bytes.fromhex(
    "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb"
    "731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452"
    "2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9"
    "21f9664c97637da9768812f615c68b13b52e"
)


def test_hchacha20() -> None:
    # draft-irtf-cfrg-xchacha-03, 2.2.1
    nonce = bytes.fromhex("000000090000004a0000000031415927")
    wanted = "82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc"
    fresh, used = HChaCha20(bytes(range(32))), HChaCha20(bytes(range(32)))
    used.derive(bytes(16))
    assert fresh.derive(nonce).hex() == used.derive(nonce).hex() == wanted


def test_xchacha20_poly1305() -> None:
    cipher = XChaCha20Poly1305(KEY)
    sealed = cipher.encrypt(NONCE, TEXT, None)
    assert sealed[:-TAG_BYTES] == CIPHERTEXT
    into = bytearray(len(sealed))
    assert cipher.encrypt_into(NONCE, TEXT, None, into) == len(sealed)
    assert into == sealed
    assert cipher.decrypt(NONCE, memoryview(sealed), None) == TEXT
    out = bytearray(len(TEXT))
    assert cipher.decrypt_into(memoryview(NONCE), sealed, None, out) == len(TEXT)
    assert out == TEXT
    with pytest.raises(InvalidTag):
        cipher.decrypt(NONCE, sealed[:-1] + b"\0", None)


@pytest.mark.parametrize("name", METHODS)
def test_names_in_either_case(name: str) -> None:
    assert find_method(name).name == find_method(name.upper()).name == name


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("AEAD_CHACHA20_POLY1305", "chacha20-ietf-poly1305"),
        ("AEAD_AES_128_GCM", "aes-128-gcm"),
        ("xchacha20-poly1305", "xchacha20-ietf-poly1305"),
        ("dummy", "none"),
        ("plain", "none"),
    ],
)
def test_other_names(alias: str, name: str) -> None:
    assert find_method(alias).name == name


def test_no_stream_ciphers() -> None:
    assert find_method("aes-256-cfb") is None
