"""The geo files in the home directory: their names, as mihomo looks for them, and their bytes.

A name counts in either case. When several would do, the first in the order of bytes is taken, as
mihomo lists the directory: `Country.mmdb` is before `geoip.metadb`. Files are read whole, never
mapped: somebody who copies a new one over a mapped one would kill the reader with SIGBUS.
"""

from __future__ import annotations

import os
from typing import Final, NamedTuple

MAX_FILE_BYTES: Final = 128 << 20
"""Eight times the largest one that is published."""


class Kind(NamedTuple):
    """One of the files."""

    default: str
    """The name a download gets."""
    names: frozenset[str]
    """Names it is found under, in lower case."""


KINDS: Final[dict[str, Kind]] = {
    "geoip": Kind("GeoIP.dat", frozenset({"geoip.dat"})),
    "geosite": Kind("GeoSite.dat", frozenset({"geosite.dat"})),
    "mmdb": Kind("geoip.metadb", frozenset({"country.mmdb", "geoip.db", "geoip.metadb"})),
    "asn": Kind("ASN.mmdb", frozenset({"asn.mmdb"})),
}


def locate(home: str, kind: str) -> tuple[str, bool]:
    """The path of a file, and whether it is there; an absent one is where a download belongs."""
    wanted = KINDS[kind]
    try:
        with os.scandir(home) as entries:
            found = min(
                (e.name for e in entries if _is_one(e, wanted)), key=os.fsencode, default=""
            )
    except OSError:
        found = ""
    return os.path.join(home, found or wanted.default), bool(found)


def read_whole(path: str) -> bytes:
    """The bytes of a file.

    Raises:
        ValueError: larger than any geo file.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"it is larger than {MAX_FILE_BYTES >> 20} MiB")
    return content


def _is_one(entry: os.DirEntry[str], kind: Kind) -> bool:
    return entry.name.lower() in kind.names and entry.is_file()
