"""Many arrays and one header in one piece of memory, to be mapped and shared as it is.

    u64 header length, u64 number of sections, (u64 offset, u64 length) of each, header, sections

in this machine's byte order; every section begins at a multiple of 8. It is read by the program
that wrote it, from memory nobody else can write: nothing is verified.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from mmap import mmap

_PAIR: Final = struct.Struct("=QQ")


class SectionWriter:
    """Collects sections."""

    def __init__(self) -> None:
        self._sections: list[bytes] = []

    def add(self, data: bytes) -> int:
        """The number of a new section."""
        self._sections.append(data)
        return len(self._sections) - 1

    def finish(self, header: bytes) -> bytes:
        """All of it."""
        at = _PAIR.size * (1 + len(self._sections))
        pieces = [_PAIR.pack(len(header), len(self._sections))]
        body = [_padded(header)]
        at += len(body[0])
        for section in self._sections:
            pieces.append(_PAIR.pack(at, len(section)))
            body.append(_padded(section))
            at += len(body[-1])
        return b"".join(pieces + body)


class Sections:
    """Reads what a `SectionWriter` wrote; arrays are views, nothing is copied."""

    def __init__(self, data: bytes | mmap) -> None:
        self.data = data
        self._view = memoryview(data)
        length, self._count = _PAIR.unpack_from(data, 0)
        start = _PAIR.size * (1 + self._count)
        self.header = self._view[start : start + length]

    def place(self, number: int) -> tuple[int, int]:
        """Offset and length of a section within `data`."""
        offset, length = _PAIR.unpack_from(self.data, _PAIR.size * (1 + number))
        return offset, length

    def array(self, number: int, code: Literal["B", "H", "I", "Q"]) -> memoryview[int]:
        """A section as numbers of one of `struct`'s native formats."""
        offset, length = self.place(number)
        return self._view[offset : offset + length].cast(code)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)
