"""MaxMind databases: any bytes, and any bytes as the tree and the data of a good database."""

from __future__ import annotations

from support.mmdb import write

from mihomo_tproxy.geo.mmdb import MARKER, MAX_LINKS, Database

NODES = 20
TYPES = ("GeoLite2-Country", "Meta-geoip0", "GeoLite2-ASN")


def _ending(kind: str, version: int) -> bytes:
    whole = write([], type=kind, ip_version=version, node_count=NODES)
    return whole[whole.rfind(MARKER) :]


ENDINGS = [_ending(kind, version) for kind in TYPES for version in (4, 6)]


def target(data: bytes) -> None:
    """Nothing but a ValueError escapes, and no code has more ranges than the tree has places."""
    for content in (data, *(data + ending for ending in ENDINGS)):
        _read(content)


def _read(content: bytes) -> None:
    try:
        database = Database(content)
        for code in database.codes():
            assert len(database.ranges(code)) <= len(content) * (MAX_LINKS + 1)
    except ValueError:
        return
