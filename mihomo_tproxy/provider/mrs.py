"""MRS files: rule sets as mihomo compiles them (`mihomo convert-ruleset`), zstd all over.

    "MRS\\x01"   magic and version
    u8          behavior: 0 domain, 1 ipcidr
    i64         number of rules, for display
    i64, bytes  something for the future
    u8          version of what follows: 1

    domain:  i64, u64[]   leaves: bit i is set if a name ends at node i
             i64, u64[]   shape: for each node a 0 for each child, then a 1; nodes in breadth order
             i64, u8[]    labels: the character that leads to node i + 1
    ipcidr:  i64, then the first and the last address of each range, 16 bytes each (IPv4 mapped)

Numbers are big-endian; bit i of a bitmap is bit i % 64 of word i // 64. The tree holds the names
backwards, character by character. A `+.` in front means everything below the name and not, as in a
list, the name itself: that stands beside it. The layout was found by converting lists with mihomo
1.19.32 and reading what came out.

Invariants, for files of strangers: no more than `MAX_BYTES` is ever decompressed, the tree has at
most `MAX_NODES` nodes, `MAX_NAMES` names and `MAX_DEPTH` levels, and the names that are under way
at one level, or done, never hold more than `MAX_CHARACTERS`: time and memory are linear in these.
"""

from __future__ import annotations

import sys
from array import array
from itertools import chain, compress, islice, repeat
from operator import add
from typing import TYPE_CHECKING, Final

import zstandard

from mihomo_tproxy.model.address import V4_MAPPED, is_v4

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES: Final = 64 << 20
MAX_WINDOW_BYTES: Final = MAX_BYTES
"""zstd's own memory; mihomo writes windows of 8 MiB, other tools up to 32."""
MAX_NODES: Final = 16 << 20
MAX_NAMES: Final = 4_000_000
MAX_DEPTH: Final = 512
MAX_CHARACTERS: Final = 64 << 20
MAX_EXTRA_BYTES: Final = 1 << 20

MAGIC: Final = b"MRS\x01"
DOMAIN: Final = 0
IPCIDR: Final = 1
_VERSION: Final = 1
_CHUNK_BYTES: Final = 1 << 20
_ANSWERS: Final = bytes(1 if place == ord("1") else 0 for place in range(256))
"""Turns the characters of a written-out bitmap into its bits."""


def read_names(data: bytes) -> list[str]:
    """The patterns of a domain set, as a list has them (`matcher.domain_set`).

    Raises:
        ValueError: not an MRS file of names, broken, or beyond a limit.
    """
    reader = _open(data, DOMAIN)
    leaves = reader.words()
    shape = reader.words()
    labels = reader.take(reader.length(1), "labels")
    reader.finish()
    return _as_written(_walk(leaves, shape, labels))


def _as_written(names: list[str]) -> list[str]:
    below = [name[2:] for name in names if name.startswith("+.")]
    exact = [name for name in names if not name.startswith("+.")]
    known, suffixes = set(exact), set(below)
    patterns = [f"+.{name}" if name in known else f".{name}" for name in below]
    patterns += [name for name in exact if name not in suffixes]
    return patterns


def read_ranges(data: bytes) -> list[tuple[int, int]]:
    """The ranges of an address set as keys, both ends included.

    Raises:
        ValueError: not an MRS file of addresses, broken, or beyond a limit.
    """
    reader = _open(data, IPCIDR)
    ends = memoryview(reader.take(reader.length(32) * 32, "ranges"))
    reader.finish()
    ranges: list[tuple[int, int]] = []
    for at in range(0, len(ends), 32):
        first = int.from_bytes(ends[at : at + 16], "big")
        last = int.from_bytes(ends[at + 16 : at + 32], "big")
        if first > last or is_v4(first) != is_v4(last):
            raise ValueError("broken MRS file: a range without a beginning or an end")
        ranges.extend(_one_family(first, last))
    return ranges


def _one_family(first: int, last: int) -> tuple[tuple[int, int], ...]:
    """A range of IPv6 that goes over the place where IPv4 is mapped does not mean IPv4."""
    if first < V4_MAPPED < last:
        return (first, V4_MAPPED - 1), (V4_MAPPED + (1 << 32), last)
    return ((first, last),)


class _Reader:
    """Takes the parts of a decompressed file, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int, what: str) -> bytes:
        part = self._data[self._at : self._at + size]
        if len(part) != size:
            raise ValueError(f"broken MRS file: it ends within the {what}")
        self._at += size
        return part

    def number(self, what: str) -> int:
        return int.from_bytes(self.take(8, what), "big", signed=True)

    def length(self, each: int) -> int:
        """A count of things of `each` bytes, which must all be there."""
        count = self.number("lengths")
        if not 1 <= count <= (len(self._data) - self._at) // each:
            raise ValueError("broken MRS file: a length that cannot be")
        return count

    def words(self) -> int:
        """A bitmap, bit 0 being the lowest."""
        words = array("Q", self.take(self.length(8) * 8, "bitmaps"))
        if sys.byteorder == "little":
            words.byteswap()
        return int.from_bytes(words.tobytes(), sys.byteorder)

    def finish(self) -> None:
        if self._at != len(self._data):
            raise ValueError("broken MRS file: something follows its end")


def _open(data: bytes, behavior: int) -> _Reader:
    reader = _Reader(_decompress(data))
    if reader.take(4, "head") != MAGIC:
        raise ValueError("not an MRS file of version 1")
    found = reader.take(1, "head")[0]
    if found != behavior:
        names = {DOMAIN: "names", IPCIDR: "addresses"}
        kind = names.get(found, f"unknown things ({found})")
        raise ValueError(f"an MRS file of {kind}, not of {names[behavior]}")
    reader.number("head")
    extra = reader.number("head")
    if not 0 <= extra <= MAX_EXTRA_BYTES:
        raise ValueError("broken MRS file: a length that cannot be")
    reader.take(extra, "head")
    if reader.take(1, "head")[0] != _VERSION:
        raise ValueError("an MRS file whose set is of an unknown version")
    return reader


def _decompress(data: bytes) -> bytes:
    """zstd, stopped at the limit instead of trusting the size that the frame states."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)
    out = bytearray()
    try:
        with decompressor.stream_reader(data, read_across_frames=True) as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                out += chunk
                if len(out) > MAX_BYTES:
                    raise ValueError(
                        f"an MRS file of more than {MAX_BYTES >> 20} MiB when unpacked"
                    )
    except zstandard.ZstdError as error:
        raise ValueError(f"not an MRS file: {error}") from None
    return bytes(out)


def _walk(leaves: int, shape: int, labels: bytes) -> list[str]:
    """The names of the tree, level by level, all nodes of a level at once."""
    nodes = len(labels) + 1
    if nodes > MAX_NODES or leaves.bit_count() > MAX_NAMES:
        raise ValueError(f"an MRS file with more than {MAX_NODES} nodes or {MAX_NAMES} names")
    if shape.bit_length() != nodes + len(labels) or shape.bit_count() != nodes:
        raise ValueError("broken MRS file: shape and labels do not fit together")
    if leaves.bit_length() > nodes:
        raise ValueError("broken MRS file: names end outside of the tree")
    runs = map(len, f"{shape:b}"[::-1].split("1"))
    ends = f"{leaves:b}"[::-1].ljust(nodes, "0").encode().translate(_ANSWERS)
    names = list(_levels(runs, ends, labels.decode("latin-1")))
    return names if labels.isascii() else list(map(_characters, names))


def _levels(runs: Iterator[int], ends: bytes, labels: str) -> Iterator[str]:
    """The names, put together from their ends, each byte a character.

    Args:
        runs: the number of children of each node.
        ends: for each node whether a name ends there.
        labels: the character that leads to each node but the first.
    """
    level = [""]
    ways = iter(labels)
    at = depth = written = 0
    while level:
        here = ends[at : at + len(level)]
        written += here.count(1) * depth
        if depth > MAX_DEPTH or len(level) * depth > MAX_CHARACTERS or written > MAX_CHARACTERS:
            raise ValueError("an MRS file whose names are too long")
        yield from compress(level, here)
        counts = list(islice(runs, len(level)))
        parents = chain.from_iterable(map(repeat, level, counts))
        at += len(level)
        depth += 1
        level = list(map(add, islice(ways, sum(counts)), parents))
    if at != len(ends):
        raise ValueError("broken MRS file: nodes without a parent")


def _characters(name: str) -> str:
    """mihomo turns names around by characters, not by bytes."""
    return name[::-1].encode("latin-1").decode("utf-8", "replace")[::-1]
