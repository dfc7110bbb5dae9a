"""The server's side of Shadowsocks, as much as round trips need, and the vectors of a real one."""

from __future__ import annotations

import json
import random
from pathlib import Path
from struct import pack

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from mihomo_tproxy.codec.address import encode_socks_address, parse_socks_address
from mihomo_tproxy.codec.shadowsocks.ciphers import (
    METHODS,
    Edition,
    XChaCha20Poly1305,
    find_method,
)
from mihomo_tproxy.codec.shadowsocks.kdf import aead_subkey, session_subkey
from mihomo_tproxy.codec.shadowsocks.profile import Profile

NOW = 1_800_000_000
KEYS = {16: "AAECAwQFBgcICQoLDA0ODw==", 32: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}
NAMES = [name for name in METHODS if name != "none"]
OLD_NAMES = [name for name in NAMES if not name.startswith("2022")]
NEW_NAMES = [name for name in NAMES if name.startswith("2022")]
CASES = json.loads((Path(__file__).parent.parent / "vectors" / "shadowsocks.json").read_text())[
    "cases"
]


def case_id(case) -> str:
    return case["method"] + ("-users" if ":" in case["password"] else "")


def profile(name: str, password: str | None = None, *, now: float = NOW, seed: int = 1) -> Profile:
    method = find_method(name)
    if password is None:
        password = KEYS[method.key_bytes] if method.edition is Edition.AEAD_2022 else "password"
    return Profile(method, password, lambda: now, random.Random(seed).randbytes)


class Cipherer:
    """One direction under one key, a nonce that counts."""

    def __init__(self, profile: Profile, salt: bytes) -> None:
        method = profile.method
        old = method.edition is Edition.AEAD
        self.aead = method.cipher((aead_subkey if old else session_subkey)(profile.key, salt))
        self.width = method.nonce_bytes
        self.count = 0

    def nonce(self) -> bytes:
        self.count += 1
        return (self.count - 1).to_bytes(self.width, "little")

    def seal(self, data: bytes) -> bytes:
        return self.aead.encrypt(self.nonce(), data, None)

    def open(self, data: bytes) -> bytes:
        return self.aead.decrypt(self.nonce(), data, None)

    def record(self, data: bytes) -> bytes:
        return self.seal(len(data).to_bytes(2, "big")) + self.seal(data)


class Request:
    """What a client sent, taken apart; for one without identities."""

    def __init__(self, profile: Profile, wire: bytes) -> None:
        method = profile.method
        self.salt = wire[: method.key_bytes]
        cipher = Cipherer(profile, self.salt)
        at = len(self.salt)
        self.payload = b""
        self.padding = b""
        self.sizes = []
        first = b""
        if method.edition is Edition.AEAD_2022:
            fixed = cipher.open(wire[at : at + 27])
            assert fixed[0] == 0
            self.time = int.from_bytes(fixed[1:9], "big")
            size = int.from_bytes(fixed[9:], "big") + 16
            first = cipher.open(wire[at + 27 : at + 27 + size])
            at += 27 + size
        while at < len(wire):
            size = int.from_bytes(cipher.open(wire[at : at + 18]), "big")
            self.sizes.append(size)
            self.payload += cipher.open(wire[at + 18 : at + 34 + size])
            at += 34 + size
        plain = first or self.payload
        host, port, end = parse_socks_address(plain)
        self.destination = (host, port)
        if first:
            padding = int.from_bytes(first[end : end + 2], "big")
            self.padding = first[end + 2 : end + 2 + padding]
            self.payload = first[end + 2 + padding :] + self.payload
        else:
            self.payload = self.payload[end:]


class Response:
    """What a server says."""

    def __init__(self, profile: Profile, request_salt: bytes, salt: bytes = b"") -> None:
        self.profile = profile
        self.request_salt = request_salt
        self.salt = salt or bytes(range(100, 100 + profile.method.key_bytes))
        self.cipher = Cipherer(profile, self.salt)
        self.begun = False

    def seal(self, payload: bytes, *, kind: int = 1, time: int = NOW) -> bytes:
        if self.begun:
            return self.cipher.record(payload)
        self.begun = True
        if self.profile.method.edition is Edition.AEAD:
            return self.salt + self.cipher.record(payload)
        fixed = pack(">BQ", kind, time) + self.request_salt + pack(">H", len(payload))
        return self.salt + self.cipher.seal(fixed) + self.cipher.seal(payload)


def reply_2022(
    profile: Profile,
    client: bytes,
    data: bytes,
    number: int = 0,
    *,
    session: bytes = b"server-1",
    kind: int = 1,
    time: int = NOW,
    remote: tuple[str, int] = ("192.0.2.7", 53),
) -> bytes:
    """A datagram of a server of the 2022 edition."""
    ids = session + number.to_bytes(8, "big")
    main = pack(">BQ8sH", kind, time, client, 3) + b"pad" + encode_socks_address(*remote) + data
    if not profile.method.aes:
        nonce = bytes(range(24))
        return nonce + XChaCha20Poly1305(profile.key).encrypt(nonce, ids + main, None)
    aead = profile.method.cipher(session_subkey(profile.key, session))
    header = Cipher(AES(profile.key), ECB()).encryptor().update(ids)  # noqa: S305
    return header + aead.encrypt(ids[4:], main, None)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """The data cut at some places."""
    ends = sorted({cut % (len(data) + 1) for cut in cuts} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
