"""The server's side of VMess, written for clarity and apart from the client's code.

Hashes, HMACs and masks are computed from scratch each time, as the specification words them.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from hashlib import md5, sha256, shake_128
from zlib import crc32

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

CHUNKS, MASKED, PADDED, SEALED_LENGTHS = 1, 4, 8, 16
AES_128_GCM, CHACHA20_POLY1305, NONE = 3, 4, 5


def kdf(key: bytes, *path: bytes) -> bytes:
    """HMACs nested along the path."""

    def nested(depth: int, message: bytes) -> bytes:
        if depth == 0:
            return hmac.digest(b"VMess AEAD KDF", message, "sha256")
        block = path[depth - 1].ljust(64, b"\0")
        inner = bytes(byte ^ 0x36 for byte in block)
        outer = bytes(byte ^ 0x5C for byte in block)
        return nested(depth - 1, outer + nested(depth - 1, inner + message))

    return nested(len(path), key)


def _md5(data: bytes) -> bytes:
    return md5(data, usedforsecurity=False).digest()


def user_key(uuid: bytes) -> bytes:
    return _md5(uuid + b"c48619fe-8f02-49e0-b9e9-edf763e17e21")


@dataclass
class Request:
    """What a request header says, and what it was sealed with."""

    time: int
    random: bytes
    """Of the auth id and the connection nonce."""
    instruction: bytes
    iv: bytes
    key: bytes
    check: int
    option: int
    padding: int
    security: int
    command: int
    address: bytes
    size: int
    """Of the whole header on the wire."""


def open_request(uuid: bytes, data: bytes) -> Request:
    """Read the request header at the start of `data`."""
    key = user_key(uuid)
    auth_id, nonce = data[:16], data[34:42]
    aes = AES(kdf(key, b"AES Auth ID Encryption")[:16])
    block = Cipher(aes, ECB()).decryptor().update(auth_id)  # noqa: S305
    assert crc32(block[:12]) == int.from_bytes(block[12:], "big")

    def opened(name: bytes, sealed: bytes) -> bytes:
        suffix = b"_Length" if len(sealed) == 18 else b""
        sealing = kdf(key, b"VMess Header AEAD Key" + suffix, auth_id, nonce)[:16]
        by = kdf(key, b"VMess Header AEAD Nonce" + suffix, auth_id, nonce)[:12]
        return AESGCM(sealing).decrypt(by, sealed, auth_id)

    size = 42 + int.from_bytes(opened(b"_Length", data[16:34]), "big") + 16
    head = opened(b"", data[42:size])
    value = 0x811C9DC5
    for byte in head[:-4]:
        value = (value ^ byte) * 0x01000193 % 2**32
    assert value == int.from_bytes(head[-4:], "big")
    assert (head[0], head[36]) == (1, 0)
    padding = head[35] >> 4
    return Request(
        time=int.from_bytes(block[:8], "big"),
        random=block[8:12] + nonce,
        instruction=head,
        iv=head[1:17],
        key=head[17:33],
        check=head[33],
        option=head[34],
        padding=padding,
        security=head[35] & 15,
        command=head[37],
        address=head[38 : len(head) - 4 - padding],
        size=size,
    )


@dataclass
class Body:
    """One direction of a body."""

    request: Request
    is_response: bool = False
    count: int = field(default=0, init=False)
    masks: int = field(default=0, init=False)

    @property
    def key(self) -> bytes:
        return sha256(self.request.key).digest()[:16] if self.is_response else self.request.key

    @property
    def iv(self) -> bytes:
        return sha256(self.request.iv).digest()[:16] if self.is_response else self.request.iv

    def _aead(self, key: bytes) -> AESGCM | ChaCha20Poly1305:
        if self.request.security == AES_128_GCM:
            return AESGCM(key)
        half = _md5(key)
        return ChaCha20Poly1305(half + _md5(half))

    def _mask(self) -> int:
        self.masks += 1
        return int.from_bytes(shake_128(self.iv).digest(2 * self.masks)[-2:], "big")

    def _counted(self, iv: bytes) -> bytes:
        return (self.count % 2**16).to_bytes(2, "big") + iv[2:12]

    def seal(self, payload: bytes) -> bytes:
        """One chunk."""
        option = self.request.option
        padding = self._mask() % 64 if option & PADDED else 0
        sealed = payload
        if self.request.security != NONE:
            sealed = self._aead(self.key).encrypt(self._counted(self.iv), payload, None)
        if option & SEALED_LENGTHS:
            lengths = self._aead(kdf(self.request.key, b"auth_len")[:16])
            size = (len(payload) + padding).to_bytes(2, "big")
            head = lengths.encrypt(self._counted(self.request.iv), size, None)
        else:
            mask = self._mask() if option & MASKED else 0
            head = (len(sealed) + padding ^ mask).to_bytes(2, "big")
        self.count += 1
        return head + sealed + b"p" * padding

    def open(self, data: bytes) -> list[bytes]:
        """The payload of chunks, all of them complete."""
        option = self.request.option
        payloads = []
        while data:
            padding = self._mask() % 64 if option & PADDED else 0
            if option & SEALED_LENGTHS:
                lengths = self._aead(kdf(self.request.key, b"auth_len")[:16])
                head = lengths.decrypt(self._counted(self.request.iv), data[:18], None)
                size, data = int.from_bytes(head, "big") + 16, data[18:]
            else:
                mask = self._mask() if option & MASKED else 0
                size, data = int.from_bytes(data[:2], "big") ^ mask, data[2:]
            assert len(data) >= size
            payload, data = data[: size - padding], data[size:]
            if self.request.security != NONE:
                payload = self._aead(self.key).decrypt(self._counted(self.iv), payload, None)
            self.count += 1
            payloads.append(payload)
        return payloads


def response_header(request: Request, command: bytes = b"\0\0", check: int | None = None) -> bytes:
    """The header a server answers a request with."""
    key = sha256(request.key).digest()[:16]
    iv = sha256(request.iv).digest()[:16]
    head = bytes((request.check if check is None else check, request.option)) + command

    def sealed(name: bytes, plain: bytes) -> bytes:
        by = kdf(iv, b"AEAD Resp Header " + name + b"IV")[:12]
        return AESGCM(kdf(key, b"AEAD Resp Header " + name + b"Key")[:16]).encrypt(by, plain, None)

    return sealed(b"Len ", len(head).to_bytes(2, "big")) + sealed(b"", head)
