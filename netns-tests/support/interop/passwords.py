"""Shadowsocks ciphers and passwords that fit them."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

KEY_BYTES: Final = {
    "2022-blake3-aes-128-gcm": 16,
    "2022-blake3-aes-256-gcm": 32,
    "2022-blake3-chacha20-poly1305": 32,
}
AEAD: Final = (
    "aes-128-gcm",
    "aes-192-gcm",
    "aes-256-gcm",
    "chacha20-ietf-poly1305",
    "xchacha20-ietf-poly1305",
)
CIPHERS: Final = (*AEAD, *KEY_BYTES)


def password_for(cipher: str, whose: str = "server") -> str:
    """A password, or a base64 key of the right length; the same for the same arguments."""
    size = KEY_BYTES.get(cipher)
    if size is None:
        return f"password of the {whose}"
    return base64.b64encode(hashlib.sha256(f"{cipher} {whose}".encode()).digest()[:size]).decode()
