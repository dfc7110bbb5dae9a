"""geosite.dat and geoip.dat (v2ray): one list out of many, without parsing the others.

A file is a sequence of entries, each with its length in front, each beginning with its name:

    0a length { 0a length name  12 length item  12 length item ... }

The entries are walked by hand, which takes a fraction of a millisecond; protobuf then reads the one
that is wanted. Invariants for foreign bytes: no length reaches beyond what holds it, and the items
are counted before they are parsed, because an item of two bytes becomes an object of a hundred.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Final, NamedTuple

from mihomo_tproxy.geo import messages
from mihomo_tproxy.matcher.cidr import Prefix, contains, masked, parse_cidr
from mihomo_tproxy.matcher.cidr_set import CidrSet
from mihomo_tproxy.matcher.domain_set import DomainSet
from mihomo_tproxy.matcher.expressions import Expression
from mihomo_tproxy.model.address import V4_BITS, V4_MAPPED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sized

MAX_ITEMS: Final = 2_000_000
"""Of one list: twice what all lists of the largest file hold together."""
MAX_LIST_BYTES: Final = 16 << 20
"""Five times the largest list."""
MAX_LISTS: Final = 20_000
MAX_NAME_BYTES: Final = 256
MAX_PATTERN_BYTES: Final = 1000
MAX_EXPRESSIONS: Final = 1000
"""Of one list; all lists together have a third of it."""
MAX_KEYWORDS: Final = 10_000

_ENTRY: Final = 0x0A
_ITEM: Final = 0x12
_SAMPLE: Final = 1000
_V4: Final = Prefix(V4_MAPPED, V4_BITS)
_V4_HOSTS: Final = tuple((1 << 32 - length) - 1 for length in range(33))
"""By length of a prefix, the bits it leaves open."""
_HOST: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")


class Sites(NamedTuple):
    """What a list of names came to."""

    domains: DomainSet
    skipped: int
    """Items that could not be used."""


class DatFile:
    """The lists of one file, by name in lower case.

    Raises:
        ValueError: it is not such a file; the text says why.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._entries: dict[str, tuple[int, int]] = {}
        for name, place in _entries(content):
            self._entries.setdefault(name, place)

    @property
    def names(self) -> list[str]:
        """The names of all lists."""
        return list(self._entries)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def sites(self, name: str, attributes: tuple[str, ...] = ()) -> Sites:
        """The names of a list that have every one of the attributes.

        Raises:
            KeyError: there is no such list.
            ValueError: it cannot be read.
        """
        wanted = {attribute.encode() for attribute in attributes}
        domains = DomainSet()
        skipped = 0
        for item in messages.parse_domains(self._slice(name)):
            if len(item.value) > MAX_PATTERN_BYTES:
                skipped += 1
                continue
            if wanted and not wanted <= {each.key.lower() for each in item.attributes}:
                continue
            try:
                _add(domains, item.type, item.value.decode())
            except ValueError:
                skipped += 1
        return Sites(domains, skipped)

    def ranges(self, name: str) -> tuple[CidrSet, int]:
        """The addresses of a list, and the number of items that could not be used.

        Raises:
            KeyError: there is no such list.
            ValueError: it cannot be read.
        """
        found: list[tuple[int, int]] = []
        skipped = 0
        for item in messages.parse_cidrs(self._slice(name)):
            ip, length = item.ip, item.prefix
            if len(ip) == 4 and length <= 32:
                first = V4_MAPPED | (int.from_bytes(ip, "big") & ~_V4_HOSTS[length])
                found.append((first, first | _V4_HOSTS[length]))
                continue
            prefixes = _prefixes(ip, length)
            found += ((prefix.key, prefix.last) for prefix in prefixes)
            skipped += not prefixes
        return CidrSet.of_ranges(found), skipped

    def verify(self, kind: str) -> None:
        """Looks at the frame of every list, and at the items of the first ones.

        Args:
            kind: what it should be, "geosite" or "geoip".

        Raises:
            ValueError: it is not that, or broken.
        """
        used = skipped = 0
        for name in self._entries:
            if used + skipped < _SAMPLE:
                found, bad = self.sites(name) if kind == "geosite" else self.ranges(name)
                used += len(found)
                skipped += bad
            else:
                self._slice(name)
        if used <= skipped:
            raise ValueError(f"what it lists is not for {kind}")

    def _slice(self, name: str) -> bytes:
        start, end = self._entries[name]
        entry = self._content[start:end]
        _count(entry)
        return entry


def _entries(content: bytes) -> Iterator[tuple[str, tuple[int, int]]]:
    at = 0
    count = 0
    while at < len(content):
        if content[at] != _ENTRY:
            raise ValueError("it is no list of lists")
        length, start = _varint(content, at + 1)
        at = start + length
        if at > len(content):
            raise ValueError("it ends within a list")
        if length > MAX_LIST_BYTES:
            raise ValueError(f"a list is larger than {MAX_LIST_BYTES >> 20} MiB")
        if not length or content[start] != _ENTRY:
            raise ValueError("a list has no name")
        name_length, name_at = _varint(content, start + 1)
        if name_at + name_length > at or name_length > MAX_NAME_BYTES:
            raise ValueError("a name is longer than its list, or than any name")
        count += 1
        if count > MAX_LISTS:
            raise ValueError(f"it has more than {MAX_LISTS} lists")
        name = content[name_at : name_at + name_length].decode("utf-8", "replace")
        yield name.lower(), (start, at)
    if not count:
        raise ValueError("it is empty")


def _count(entry: bytes) -> None:
    """Refuses a list with too many items, or whose fields do not fill it exactly."""
    at = 0
    items = 0
    size = len(entry)
    while at < size:
        tag = entry[at]
        if tag == _ITEM and at + 1 < size and entry[at + 1] < 0x80:
            at += 2 + entry[at + 1]
        else:
            at = _behind(entry, at)
        items += 1
        if items > MAX_ITEMS:
            raise ValueError(f"a list of it has more than {MAX_ITEMS} items")
    if at != size:
        raise ValueError("a field is longer than its list")


def _behind(entry: bytes, at: int) -> int:
    """Where the next field begins; one of those wire types that a list has."""
    wire_type = entry[at] & 7
    value, at = _varint(entry, at + 1)
    if wire_type == 2:
        return at + value
    if wire_type == 0:
        return at
    raise ValueError("a list of it has fields of an unknown kind")


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 63, 7):
        if at >= len(content):
            break
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a length in it is broken")


def _add(domains: DomainSet, kind: int, text: str) -> None:
    if kind == messages.REGEX:
        _check_room(domains.expressions, MAX_EXPRESSIONS)
        domains.expressions.append(Expression(text))
        return
    text = text.lower()
    if kind == messages.KEYWORD and text:
        _check_room(domains.keywords, MAX_KEYWORDS)
        domains.keywords.append(text)
        return
    if not text.isascii():
        text = text.encode("idna").decode()
    if not _HOST.fullmatch(text):
        raise ValueError("no name")
    if kind == messages.SUFFIX:
        domains.suffixes.add(text)
    elif kind == messages.FULL:
        domains.add(text)
    else:
        raise ValueError("of no known type")


def _check_room(tried: Sized, limit: int) -> None:
    """These are tried one after the other for every flow."""
    if len(tried) >= limit:
        raise ValueError("too many")


def _prefixes(ip: bytes, length: int) -> tuple[Prefix, ...]:
    """The prefixes of an item that is not IPv4, none when it makes no sense."""
    if len(ip) != 16 or length > 128:
        return ()
    key = int.from_bytes(ip, "big")
    prefix = masked(key, length)
    if not (contains(prefix, _V4) or contains(_V4, prefix)):
        return (prefix,)
    try:
        return parse_cidr(f"{IPv6Address(key)}/{length}")
    except ValueError:
        return ()
