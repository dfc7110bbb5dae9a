"""Ranges that were read out of a database, kept in files so that the next start takes no time.

    "MTGEO1\\n\\0"  crc32  number of IPv4 ranges  number of others  IPv4 ranges  others

Numbers have 32 bits, little-endian; an IPv4 range is two of them, another one two of 128 bits. The
CRC covers everything behind it. The name of a file says which list it is, and of which database (by
size, time and metadata); files of another version of the database are removed when one is written.
Invariant: a cache that is absent, damaged or not writable changes nothing but time.
"""

from __future__ import annotations

import hashlib
import os
import sys
import zlib
from array import array
from contextlib import suppress
from struct import Struct
from typing import Final

from mihomo_tproxy.geo.files import read_whole
from mihomo_tproxy.geo.mmdb import MARKER, MAX_METADATA_BYTES
from mihomo_tproxy.matcher.cidr_set import CidrSet
from mihomo_tproxy.model.address import V4_MAPPED, is_v4

DIRECTORY: Final = "geo-cache"

_MAGIC: Final = b"MTGEO1\n\0"
_HEAD: Final = Struct("<8sIII")
_CHECKED_FROM: Final = 12
_SUFFIX: Final = ".ranges"
_LOW_32: Final = 0xFFFFFFFF


class RangeCache:
    """The cached lists of one database file.

    Raises:
        OSError: the database cannot be read.
    """

    def __init__(self, home: str, kind: str, database: str) -> None:
        self._directory = os.path.join(home, DIRECTORY)
        self._kind = f"{kind}-"
        self._version = f"{kind}-{_fingerprint(database)}-"

    def load(self, code: str) -> CidrSet | None:
        """A list, None when it has to be read from the database."""
        try:
            return _decode(read_whole(self._path(code)))
        except (OSError, ValueError):
            return None

    def store(self, code: str, ranges: CidrSet) -> None:
        """Keeps a list. That it cannot be kept is nobody's concern."""
        path = self._path(code)
        partial = f"{path}.{os.getpid()}"
        try:
            os.makedirs(self._directory, exist_ok=True)
            self._remove_old()
            with open(partial, "wb") as file:
                file.write(_encode(ranges))
            os.replace(partial, path)
        except OSError:
            with suppress(OSError):
                os.unlink(partial)

    def _path(self, code: str) -> str:
        name = hashlib.sha256(code.encode()).hexdigest()[:16]
        return os.path.join(self._directory, self._version + name + _SUFFIX)

    def _remove_old(self) -> None:
        for name in os.listdir(self._directory):
            if name.startswith(self._kind) and not name.startswith(self._version):
                os.unlink(os.path.join(self._directory, name))


def _fingerprint(database: str) -> str:
    """What tells one version of a database from the next, without reading all of it."""
    with open(database, "rb") as file:
        status = os.fstat(file.fileno())
        tail = os.pread(
            file.fileno(), MAX_METADATA_BYTES, max(0, status.st_size - MAX_METADATA_BYTES)
        )
    text = f"{status.st_size} {status.st_mtime_ns} ".encode()
    return hashlib.sha256(text + tail[max(0, tail.rfind(MARKER)) :]).hexdigest()[:16]


def _encode(ranges: CidrSet) -> bytes:
    v4 = array("I")
    others: list[bytes] = []
    for first, last in ranges.ranges():
        if is_v4(first) and is_v4(last):
            v4.append(first & _LOW_32)
            v4.append(last & _LOW_32)
        else:
            others += first.to_bytes(16, "little"), last.to_bytes(16, "little")
    if sys.byteorder == "big":
        v4.byteswap()
    counts = (len(v4) // 2, len(others) // 2)
    payload = v4.tobytes() + b"".join(others)
    checked = _HEAD.pack(_MAGIC, 0, *counts)[_CHECKED_FROM:] + payload
    return _HEAD.pack(_MAGIC, zlib.crc32(checked), *counts) + payload


def _decode(content: bytes) -> CidrSet:
    if len(content) < _HEAD.size:
        raise ValueError("too short")
    magic, checksum, v4_count, other_count = _HEAD.unpack_from(content)
    v4_end = _HEAD.size + 8 * v4_count
    whole = magic == _MAGIC and len(content) == v4_end + 32 * other_count
    if not whole or zlib.crc32(content[_CHECKED_FROM:]) != checksum:
        raise ValueError("damaged")
    v4 = array("I", content[_HEAD.size : v4_end])
    if sys.byteorder == "big":
        v4.byteswap()
    found = [(V4_MAPPED | a, V4_MAPPED | b) for a, b in zip(v4[0::2], v4[1::2], strict=True)]
    number = int.from_bytes
    for at in range(v4_end, len(content), 32):
        first, last = content[at : at + 16], content[at + 16 : at + 32]
        found.append((number(first, "little"), number(last, "little")))
    return CidrSet.of_ranges(found)
