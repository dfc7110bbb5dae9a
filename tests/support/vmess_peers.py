"""What tests of VMess have in common: a user, recordings of real peers, a repeatable profile."""

from __future__ import annotations

import json
from hashlib import shake_128
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from mihomo_tproxy.codec.vmess.header import Account, Security
from mihomo_tproxy.codec.vmess.layer import Profile

if TYPE_CHECKING:
    from collections.abc import Callable

RECORDED = json.loads((Path(__file__).parents[1] / "vectors" / "vmess.json").read_text())
"""`how` it was made is in the file."""
USER = UUID(RECORDED["uuid"]).bytes
NOW = 1_700_000_000
AES, CHACHA, NONE = Security.AES_128_GCM, Security.CHACHA20_POLY1305, Security.NONE
BODIES = [
    (security, padding, lengths)
    for security in (AES, CHACHA)
    for padding in (False, True)
    for lengths in (False, True)
] + [(NONE, False, False)]
"""Security, global padding, authenticated length."""


def fixed(data: bytes) -> Callable[[int], bytes]:
    """Random bytes that are always these, over again where they do not suffice."""
    return lambda size: (data * (size // len(data) + 1))[:size]


def profile(
    body: tuple[Security, bool, bool] = (AES, False, False), random: bytes | None = None
) -> Profile:
    """A profile whose time stands still and whose random bytes are the same each time."""
    if random is None:
        random = shake_128(b"random").digest(64)
    return Profile(Account(USER), *body, now=lambda: NOW + 0.9, random=fixed(random))
