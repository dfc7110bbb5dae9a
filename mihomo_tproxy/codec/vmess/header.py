"""The headers of VMess AEAD: the request's, sealed for one user, and the response's.

    auth id       AES-128-ECB(time 8 | random 4 | CRC32 of both 4)
    length        AES-128-GCM, 2 bytes         nonce 8, random
    instruction   AES-128-GCM:
        version 1 | IV 16 | key 16 | check 1 | options 1 | padding and security 1 | 0 | command 1
        | port 2, ATYP 1, address, unless the command is MUX | padding 0..15 | FNV-1a of it all 4
    response      length (AES-128-GCM) | check 1 | options 1 | command 1 | size 1 | ...

www.v2fly.org/developer/protocols/vmess.html, github.com/v2fly/v2fly-github-io/issues/20. The server
takes an auth id whose time is within two minutes of its own, once. Keys and nonces come from
`kdf`: the request's of the user, the auth id (also the associated data) and the nonce; the
response's of the body's key and IV. The response answers with the request's check byte.
"""

from __future__ import annotations

from enum import IntEnum
from hashlib import md5, sha256
from typing import TYPE_CHECKING, Final
from zlib import crc32

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from mihomo_tproxy.codec.vmess.kdf import Kdf, Tail
from mihomo_tproxy.errors import AuthenticationFailed, RemoteProtocolError

if TYPE_CHECKING:
    from mihomo_tproxy.codec.layer import Buffer

KEY_BYTES: Final = 16
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
SEAL_RANDOM_BYTES: Final = 12
MAX_PADDING: Final = 15
MAX_RESPONSE_BYTES: Final = 4 + 255
"""Of a response header: four bytes and a command of at most 255."""

CHUNK_STREAM: Final = 1
CHUNK_MASKING: Final = 4
GLOBAL_PADDING: Final = 8
AUTHENTICATED_LENGTH: Final = 16
"""Options: how the body is cut. Plain numbers: an IntFlag costs half a microsecond a question."""

_VERSION: Final = b"\x01"
_USER_MAGIC: Final = b"c48619fe-8f02-49e0-b9e9-edf763e17e21"
_SEALED_LENGTH: Final = 2 + TAG_BYTES
_FNV_BASIS: Final = 0x811C9DC5
_FNV_PRIME: Final = 0x01000193

_AUTH_ID: Final = Kdf(b"AES Auth ID Encryption")
_LENGTH_KEY: Final = Kdf(b"VMess Header AEAD Key_Length")
_LENGTH_NONCE: Final = Kdf(b"VMess Header AEAD Nonce_Length")
_HEADER_KEY: Final = Kdf(b"VMess Header AEAD Key")
_HEADER_NONCE: Final = Kdf(b"VMess Header AEAD Nonce")
_RESPONSE_LENGTH_KEY: Final = Kdf(b"AEAD Resp Header Len Key")
_RESPONSE_LENGTH_NONCE: Final = Kdf(b"AEAD Resp Header Len IV")
_RESPONSE_KEY: Final = Kdf(b"AEAD Resp Header Key")
_RESPONSE_NONCE: Final = Kdf(b"AEAD Resp Header IV")


class Command(IntEnum):
    """What the body carries."""

    TCP = 1
    UDP = 2
    MUX = 3
    """mux.cool frames, which name destinations themselves."""


class Security(IntEnum):
    """How the body is encrypted."""

    AES_128_GCM = 3
    CHACHA20_POLY1305 = 4
    NONE = 5


class Account:
    """One user of a server; made once for a proxy."""

    __slots__ = ("_auth_id", "_key")

    def __init__(self, uuid: bytes) -> None:
        """`uuid` is the 16 bytes of the user's id."""
        self._key = md5(uuid + _USER_MAGIC, usedforsecurity=False).digest()
        key = _AUTH_ID.derive(self._key)[:KEY_BYTES]
        # The auth id is a single block of plaintext that never repeats: ECB is what the protocol
        # says, and has no state, so that one encryptor serves every connection.
        self._auth_id = Cipher(AES(key), ECB()).encryptor()  # noqa: S305

    def seal(self, instruction: bytes, now: int, random: bytes) -> bytes:
        """The request header of an instruction.

        Args:
            instruction: as of `encode_instruction`.
            now: Unix time in seconds.
            random: `SEAL_RANDOM_BYTES` nobody can foresee.
        """
        plain = now.to_bytes(8, "big") + random[:4]
        auth_id = self._auth_id.update(plain + crc32(plain).to_bytes(4, "big"))
        nonce = random[4:]
        tail = Tail.of(auth_id, nonce)
        key = self._key
        length = AESGCM(_LENGTH_KEY.derive_along(key, tail)[:KEY_BYTES]).encrypt(
            _LENGTH_NONCE.derive_along(key, tail)[:NONCE_BYTES],
            len(instruction).to_bytes(2, "big"),
            auth_id,
        )
        sealed = AESGCM(_HEADER_KEY.derive_along(key, tail)[:KEY_BYTES]).encrypt(
            _HEADER_NONCE.derive_along(key, tail)[:NONCE_BYTES], instruction, auth_id
        )
        return b"".join((auth_id, length, nonce, sealed))


def encode_instruction(
    key: bytes, iv: bytes, code: tuple[int, int, Security, Command], address: bytes, padding: int
) -> bytes:
    """What a request header says.

    Args:
        key: of the body, as `iv` 16 random bytes.
        iv: of the body.
        code: the check byte (random), the options, security and command.
        address: port, ATYP and address of the destination; b"" for `Command.MUX`.
        padding: 0 to `MAX_PADDING`, random.
    """
    check, option, security, command = code
    codes = bytes((check, option, padding << 4 | security, 0, command))
    head = b"".join((_VERSION, iv, key, codes, address, bytes(padding)))
    return head + fnv1a(head).to_bytes(4, "big")


def fnv1a(data: bytes) -> int:
    """FNV-1a with 32 bits."""
    value = _FNV_BASIS
    for byte in data:
        value = (value ^ byte) * _FNV_PRIME & 0xFFFFFFFF
    return value


class ResponseHeader:
    """The header of one response, opened as it arrives."""

    __slots__ = ("_check", "_held", "_size", "iv", "key")

    def __init__(self, key: bytes, iv: bytes, check: int) -> None:
        """`key` and `iv` of the request's body, its check byte."""
        self.key = sha256(key).digest()[:KEY_BYTES]
        """Of the response's body, as `iv`."""
        self.iv = sha256(iv).digest()[:KEY_BYTES]
        self._check = check
        self._held = bytearray()
        self._size = 0
        """Of the sealed header, 0 until its length is known."""

    def feed(self, data: Buffer) -> memoryview | None:
        """Take bytes; those behind the header, None while it is not complete.

        Raises:
            AuthenticationFailed: the header is not for our request.
            RemoteProtocolError: it is for ours, but is none.
        """
        held = self._held
        before = len(held)
        end = _SEALED_LENGTH + (self._size or MAX_RESPONSE_BYTES + TAG_BYTES)
        held += memoryview(data)[: end - before]
        if not self._size:
            if len(held) < _SEALED_LENGTH:
                return None
            self._size = self._open_length(bytes(held[:_SEALED_LENGTH])) + TAG_BYTES
        end = _SEALED_LENGTH + self._size
        if len(held) < end:
            return None
        self._check_header(bytes(held[_SEALED_LENGTH:end]))
        return memoryview(data)[end - before :]

    def _open_length(self, sealed: bytes) -> int:
        key = _RESPONSE_LENGTH_KEY.derive(self.key)[:KEY_BYTES]
        nonce = _RESPONSE_LENGTH_NONCE.derive(self.iv)[:NONCE_BYTES]
        size = int.from_bytes(_open(key, nonce, sealed), "big")
        if not 4 <= size <= MAX_RESPONSE_BYTES:
            raise RemoteProtocolError("vmess-bad-response", f"a header of {size} bytes")
        return size

    def _check_header(self, sealed: bytes) -> None:
        key = _RESPONSE_KEY.derive(self.key)[:KEY_BYTES]
        header = _open(key, _RESPONSE_NONCE.derive(self.iv)[:NONCE_BYTES], sealed)
        if header[0] != self._check:
            raise AuthenticationFailed("vmess-bad-response", "an answer to another request")


def _open(key: bytes, nonce: bytes, sealed: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(nonce, sealed, None)
    except InvalidTag:
        raise AuthenticationFailed(
            "vmess-bad-response", "the response header does not verify"
        ) from None
