"""CIDR notation (RFC 4632, RFC 4291 2.3) as prefixes over the 128-bit address keys.

IPv4 lives inside `::ffff:0:0/96` of that key space, so an IPv6 prefix that is short enough covers
it by accident: `::/0` means "all of IPv6" to whoever writes it. Invariant: a prefix written in one
family covers no key of the other. A covering IPv6 prefix is therefore returned as the up to 96
prefixes that make up the rest of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from mihomo_tproxy.model.address import V4_BITS, V4_MAPPED, address_key

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY_BITS: Final = 128


class Prefix(NamedTuple):
    """All keys whose first `length` bits are those of `key`; the other bits of `key` are zero."""

    key: int
    length: int

    @property
    def last(self) -> int:
        """The highest key of the prefix; the lowest is `key`."""
        return self.key | ((1 << (KEY_BITS - self.length)) - 1)


EVERYTHING: Final = Prefix(0, 0)
"""Both families."""
_V4: Final = Prefix(V4_MAPPED, V4_BITS)


def parse_cidr(text: str, *, bare: bool = False) -> tuple[Prefix, ...]:
    """The prefixes of one CIDR. Host bits are allowed and ignored, as mihomo does.

    Args:
        bare: an address without a length is allowed too and stands for itself alone.

    Raises:
        ValueError: not a CIDR; the text says why.
    """
    prefix = _parse(text, bare=bare)
    return _without_v4(prefix) if _covers_v4(prefix) else (prefix,)


def parse_ranges(text: str) -> tuple[tuple[int, int], ...]:
    """The keys of one CIDR as at most two ranges, both ends included. See `parse_cidr`."""
    prefix = _parse(text, bare=False)
    key, length = prefix
    last = key | ((1 << (KEY_BITS - length)) - 1)
    if length >= V4_BITS or not _covers_v4(prefix):
        return ((key, last),)
    before, after = (prefix.key, _V4.key - 1), (_V4.last + 1, prefix.last)
    return (before, after) if prefix.last > _V4.last else (before,)


def _parse(text: str, *, bare: bool) -> Prefix:
    address, slash, length_text = text.partition("/")
    if not slash and not bare:
        raise ValueError(f"not a CIDR: {text!r} (an address needs its length, as in 192.0.2.1/32)")
    if "%" in address:
        raise ValueError(f"not a CIDR: {text!r} (a zone is not allowed)")
    family_bits = 128 if ":" in address else 32
    length = _parse_length(text, length_text, family_bits) if slash else family_bits
    try:
        key = address_key(address)
    except ValueError:
        raise ValueError(f"not a CIDR: {text!r}") from None
    prefix = masked(key, length + KEY_BITS - family_bits)
    if family_bits == 128 and contains(_V4, prefix):
        raise ValueError(f"an IPv4-mapped CIDR never matches: {text!r} (write it as IPv4)")
    return prefix


def _covers_v4(prefix: Prefix) -> bool:
    """Whether it is one of IPv6 that goes over the place where IPv4 is mapped."""
    return prefix.length < V4_BITS and contains(prefix, _V4)


def masked(key: int, length: int) -> Prefix:
    """The prefix of `length` bits that holds `key`."""
    shift = KEY_BITS - length
    return Prefix(key >> shift << shift, length)


def contains(outer: Prefix, inner: Prefix) -> bool:
    """Whether every key of `inner` is one of `outer`."""
    return outer.length <= inner.length and masked(inner.key, outer.length) == outer


def prefixes_of(first: int, last: int) -> Iterator[Prefix]:
    """The fewest prefixes that make up a range of keys, both ends included."""
    while first <= last:
        room = (first & -first).bit_length() - 1 if first else KEY_BITS
        bits = min(room, (last - first + 1).bit_length() - 1)
        yield Prefix(first, KEY_BITS - bits)
        first += 1 << bits


def _parse_length(text: str, length_text: str, limit: int) -> int:
    plain = length_text.isascii() and length_text.isdigit() and len(length_text) <= 3
    if not plain or (length_text[0] == "0" and length_text != "0") or int(length_text) > limit:
        raise ValueError(f"not a CIDR: {text!r} (the length is a number from 0 to {limit})")
    return int(length_text)


def _without_v4(prefix: Prefix) -> tuple[Prefix, ...]:
    """What is left of a covering prefix: at each depth, the sibling of the branch towards IPv4."""
    depths = range(prefix.length + 1, V4_BITS + 1)
    siblings = (V4_MAPPED ^ (1 << (KEY_BITS - depth)) for depth in depths)
    return tuple(masked(key, depth) for key, depth in zip(siblings, depths, strict=True))
