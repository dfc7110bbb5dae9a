"""What a packed MRS file unpacks to: any bytes, also behind a good head."""

from __future__ import annotations

from struct import pack

import zstandard

from mihomo_tproxy.provider.mrs import MAGIC, read_names, read_ranges

ONE_NODE = b"\x01" + pack(">qQqQq", 1, 0b10, 1, 0b110, 1)


def target(data: bytes) -> None:
    """Nothing but a ValueError escapes; there are no more names than bits, nor ranges than data."""
    for behavior in (0, 1):
        head = MAGIC + pack(">Bqq", behavior, 0, 0)
        for plain in (data, head + data, head + b"\x01" + data, head + ONE_NODE + data):
            packed = zstandard.compress(plain)
            _try(packed, len(plain))
    _try(data, len(data))


def _try(packed: bytes, size: int) -> None:
    try:
        assert len(read_names(packed)) <= size * 8
    except ValueError:
        pass
    try:
        assert len(read_ranges(packed)) <= 2 * (size // 32)
    except ValueError:
        pass
