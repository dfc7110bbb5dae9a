"""What the connections to one Shadowsocks server share: its method, keys, clock and randomness.

Keys of the 2022 edition are base64 of just the method's length, and there may be several, the last
of them the user's and those before it identities of the relays on the way (SIP023):
`iPSK:iPSK:uPSK`.
"""

from __future__ import annotations

import binascii
from itertools import pairwise
from typing import TYPE_CHECKING

from mihomo_tproxy.codec.shadowsocks.ciphers import Edition
from mihomo_tproxy.codec.shadowsocks.kdf import identity_hash, password_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from mihomo_tproxy.codec.shadowsocks.ciphers import Method


class Profile:
    """One server as its connections need it."""

    __slots__ = ("identities", "key", "method", "now", "random")

    def __init__(
        self,
        method: Method,
        password: str,
        now: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> None:
        """`now` is seconds since 1970; `random` gives that many bytes.

        Raises:
            ValueError: no password of the method.
        """
        keys = parse_password(method, password)
        self.method = method
        self.key = keys[-1]
        self.identities = [(key, identity_hash(following)) for key, following in pairwise(keys)]
        """Each relay's key, and the hash of the key after it."""
        self.now = now
        self.random = random


def parse_password(method: Method, password: str) -> tuple[bytes, ...]:
    """The keys in a password, the user's own last.

    Raises:
        ValueError: a 2022 method wants other keys; the message says which.
    """
    if method.edition is not Edition.AEAD_2022:
        return (password_key(password, method.key_bytes),)
    parts = password.split(":")
    if len(parts) > 1 and not method.aes:
        raise ValueError(f"{method.name} has no identity keys, one key is wanted")
    return tuple(_parse_key(method, part) for part in parts)


def _parse_key(method: Method, text: str) -> bytes:
    try:
        key = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (UnicodeEncodeError, binascii.Error):
        raise ValueError(f"{method.name} wants base64 of {method.key_bytes} bytes") from None
    if len(key) != method.key_bytes:
        wanted = f"{method.name} wants base64 of {method.key_bytes} bytes"
        raise ValueError(f"{wanted}, found {len(key)} bytes")
    return key
