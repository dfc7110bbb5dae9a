"""Pinned programs and maps: where they are, opening and removing them.

Part of the process that stays, so it imports little.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from mihomo_tproxy.dataplane.bpf import obj_get
from mihomo_tproxy.errors import BpfUnavailable

BPFFS: Final = Path("/sys/fs/bpf")
FS_TYPE: Final = "bpf"


def check_bpffs(root: Path = BPFFS) -> None:
    """Pins need a mounted bpffs.

    Raises:
        BpfUnavailable: there is none.
    """
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    if not any(line.split()[1:3] == [str(root), FS_TYPE] for line in mounts):
        raise BpfUnavailable(f"bpffs is not mounted at {root}: mount -t bpf bpf {root}")


def unpin(pins: Path) -> None:
    """Remove a pin directory; what it held lives on only while in use."""
    try:
        names = os.listdir(pins)
    except FileNotFoundError:
        return
    for name in names:
        os.unlink(pins / name)
    os.rmdir(pins)


def open_program(pins: Path, name: str) -> int:
    """An fd for a pinned program.

    Raises:
        BpfUnavailable: it is not there, or may not be opened.
    """
    try:
        return obj_get(str(pins / name))
    except OSError as error:
        hint = "root is needed" if error.errno in (errno.EPERM, errno.EACCES) else error.strerror
        raise BpfUnavailable(f"cannot open {pins / name}: {hint}") from error
