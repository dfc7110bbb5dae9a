"""Giving back what only the start needed: free heap, and pages of libraries not used again.

Importing a library touches most of it, and what was touched stays mapped: 10 MB of the gateway with
Shadowsocks. Pages that nobody wrote to are dropped here (madvise(2), MADV_DONTNEED); they are still
in the page cache, and the few that are needed come back by minor faults.

Invariant: only mappings that cannot be written to and hold no page of our own (`Anonymous: 0` in
proc_pid_smaps(5)) are touched; relocated ones do, and would lose their relocations.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MADV_DONTNEED: Final = 4


def trim() -> None:
    """Give back unused heap and clean pages of files. Takes some milliseconds."""
    libc = ctypes.CDLL(None)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    libc.malloc_trim(0)
    try:
        with open("/proc/self/smaps", encoding="ascii", errors="replace") as smaps:
            ranges = list(clean_ranges(smaps))
    except OSError:
        return  # no /proc: nothing is lost but memory
    for start, end in ranges:
        libc.madvise(start, end - start, _MADV_DONTNEED)


def clean_ranges(smaps: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Start and end of the mappings of files that are read-only and as the file is."""
    candidate: tuple[int, int] | None = None
    for line in smaps:
        name, _, rest = line.partition(" ")
        if not name.endswith(":"):
            fields = rest.split()
            clean = fields[0] in ("r-xp", "r--p") and len(fields) == 5 and fields[4][0] == "/"
            low, _, high = name.partition("-")
            candidate = (int(low, 16), int(high, 16)) if clean else None
        elif name == "Anonymous:" and candidate is not None and rest.split()[0] == "0":
            yield candidate
