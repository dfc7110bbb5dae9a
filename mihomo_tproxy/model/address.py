"""IP addresses as 128-bit ints, IPv4 mapped into `::ffff:0:0/96` (RFC 4291, 2.5.5.2).

One number space for both families keeps matchers and kernel keys one code path. An address key is
always in host order as an int; `to_bytes(16, "big")` is its wire form.
"""

from __future__ import annotations

from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Final

V4_MAPPED: Final = 0xFFFF << 32
V4_BITS: Final = 96
"""A prefix of length n in IPv4 has length n + 96 here."""


def address_key(text: str) -> int:
    """The key of an IP literal; a scope id (`fe80::1%eth0`) is ignored.

    Raises:
        ValueError: not an IP literal.
    """
    try:
        if ":" in text:
            return int.from_bytes(inet_pton(AF_INET6, text.partition("%")[0]), "big")
        return V4_MAPPED | int.from_bytes(inet_pton(AF_INET, text), "big")
    except OSError:
        raise ValueError(f"not an IP address: {text!r}") from None


def is_v4(key: int) -> bool:
    """Whether a key stands for an IPv4 address."""
    return key >> 32 == 0xFFFF


def address_text(key: int) -> str:
    """The IP literal of a key."""
    if is_v4(key):
        return inet_ntop(AF_INET, (key & 0xFFFFFFFF).to_bytes(4, "big"))
    return inet_ntop(AF_INET6, key.to_bytes(16, "big"))
