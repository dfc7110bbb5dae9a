"""What processes cost, read from /proc: CPU time and memory of whole process trees.

CPU is `utime + stime + cutime + cstime` of proc(5), so it counts threads and children that ended.
The kernel derives it from the scheduler's exact run time; only the unit is coarse (1/100 s), so
measure over at least a second of work. Work the kernel does in softirq is charged to whoever runs
at that moment, most often the sender: a forwarded packet costs the client, not the gateway. That is
why the machine's CPU stands beside the processes'.

Memory is the number of distinct physical pages that a process tree maps, from proc_pid_pagemap(5).
That is the PSS the tree has when nothing else on the machine maps the same files. PSS itself would
flatter whoever shares an interpreter with the benchmark.
"""

from __future__ import annotations

import os
from array import array
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
USER_SPACE_END = 1 << 63
"""[vsyscall] lies above: it is the kernel's and has no entry in pagemap."""

_ENTRY_BYTES = 8
_PRESENT = 1 << 63
_FRAME = (1 << 55) - 1


class Stat(NamedTuple):
    """The part of /proc/PID/stat that is of use here."""

    parent: int
    cpu_s: float
    """Of the process and of its children that ended and were waited for, in seconds."""


def read_stat(pid: int) -> Stat | None:
    """The state of a process, None when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return Stat(int(fields[1]), sum(map(int, fields[11:15])) / TICKS_PER_S)


def process_tree(roots: Iterable[int]) -> list[int]:
    """The processes `roots` and all their descendants that live."""
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and (stat := read_stat(int(entry.name))) is not None:
            children.setdefault(stat.parent, []).append(int(entry.name))
    found = []
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, [])
    return found


def cpu_s(roots: Iterable[int]) -> float:
    """CPU seconds used so far by the process trees; 0 for no processes."""
    stats = (read_stat(pid) for pid in process_tree(roots))
    return sum(stat.cpu_s for stat in stats if stat is not None)


def machine_cpu_s() -> float:
    """CPU seconds the whole machine was busy since boot, time stolen by the hypervisor excluded."""
    first = Path("/proc/stat").read_text(encoding="utf-8").splitlines()[0]
    user, nice, system, _idle, _iowait, irq, softirq = map(int, first.split()[1:8])
    return (user + nice + system + irq + softirq) / TICKS_PER_S


def memory_bytes(roots: Iterable[int]) -> int:
    """Physical memory mapped by the process trees, each page counted once. Needs root."""
    frames: set[int] = set()
    for pid in process_tree(roots):
        with suppress(OSError):
            frames |= _page_frames(pid)
    return len(frames) * PAGE_BYTES


def _page_frames(pid: int) -> set[int]:
    """The page frame numbers of all pages of a process that are in memory."""
    frames: set[int] = set()
    maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
    with Path(f"/proc/{pid}/pagemap").open("rb", buffering=0) as pagemap:
        for line in maps.splitlines():
            first, last = (int(x, 16) // PAGE_BYTES for x in line.split(" ", 1)[0].split("-"))
            if first * PAGE_BYTES >= USER_SPACE_END:
                continue
            pagemap.seek(first * _ENTRY_BYTES)
            entries = array("Q", pagemap.read((last - first) * _ENTRY_BYTES))
            frames.update(entry & _FRAME for entry in entries if entry & _PRESENT)
    return frames
