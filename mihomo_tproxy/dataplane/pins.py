"""Pinned programs and maps: where they are, opening and removing them.

Part of the processes that stay, so it imports little: paths are text, as pathlib costs 0.8 MB.
"""

from __future__ import annotations

import errno
import os
from typing import Final

from mihomo_tproxy.dataplane.bpf import obj_get
from mihomo_tproxy.errors import BpfUnavailable

BPFFS: Final = "/sys/fs/bpf"
FS_TYPE: Final = "bpf"


def check_bpffs(root: str = BPFFS) -> None:
    """Pins need a mounted bpffs.

    Raises:
        BpfUnavailable: there is none.
    """
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        found = any(line.split()[1:3] == [root, FS_TYPE] for line in mounts)
    if not found:
        raise BpfUnavailable(f"bpffs is not mounted at {root}: mount -t bpf bpf {root}")


def unpin(pins: str) -> None:
    """Remove a pin directory; what it held lives on only while in use."""
    try:
        names = os.listdir(pins)
    except FileNotFoundError:
        return
    for name in names:
        os.unlink(os.path.join(pins, name))
    os.rmdir(pins)


def open_program(pins: str, name: str) -> int:
    """An fd for a pinned program.

    Raises:
        BpfUnavailable: it is not there, or may not be opened.
    """
    path = os.path.join(pins, name)
    try:
        return obj_get(path)
    except OSError as error:
        hint = "root is needed" if error.errno in (errno.EPERM, errno.EACCES) else error.strerror
        raise BpfUnavailable(f"cannot open {path}: {hint}") from error
