"""geosite.dat and geoip.dat: any bytes, and any bytes as the content of a list."""

from __future__ import annotations

from mihomo_tproxy.geo.dat import DatFile


def target(data: bytes) -> None:
    """Nothing but a ValueError escapes, and nothing is made of nothing."""
    size = min(len(data), 0x3FFF)
    named = b"\x0a\x01x" + data[:size]
    length = bytes([len(named) & 0x7F | 0x80, len(named) >> 7 & 0x7F, len(named) >> 14])
    if length[2] == 0:
        length = bytes([length[0], length[1]])
    for content in (data, b"\x0a" + length + named):
        _read(content)


def _read(content: bytes) -> None:
    try:
        file = DatFile(content)
    except ValueError:
        return
    for name in file.names:
        for read in (file.sites, file.ranges):
            try:
                found, skipped = read(name)
            except ValueError:
                continue
            # An IPv6 prefix that would cover IPv4 becomes up to 96 others.
            assert len(found) <= 96 * len(content)
            assert skipped <= len(content)
