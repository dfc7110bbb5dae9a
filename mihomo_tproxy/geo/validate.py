"""Whether a downloaded file is what it should be, before it replaces the last good one."""

from __future__ import annotations

from mihomo_tproxy.geo.dat import DatFile
from mihomo_tproxy.geo.files import KINDS, read_whole
from mihomo_tproxy.geo.mmdb import Database


def validate(kind: str, path: str) -> None:
    """Looks through a file; the time is linear in its size, the memory a few times its size.

    Args:
        kind: "geoip", "geosite", "mmdb" or "asn".

    Raises:
        ValueError: it cannot be used; the text says why.
        OSError: it cannot be read.
    """
    check(kind, read_whole(path))


def check(kind: str, content: bytes) -> None:
    """`validate` for bytes."""
    if kind not in KINDS:
        raise ValueError(f"there is no kind of geo file named {kind!r}")
    if kind in ("geoip", "geosite"):
        DatFile(content).verify(kind)
    else:
        Database(content).verify(kind)
