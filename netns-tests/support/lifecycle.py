"""Which of the gateway's processes is which."""

from __future__ import annotations

import os
from pathlib import Path


def holds_maps(pid: int) -> bool:
    """Whether a child of the gateway is a worker, by the maps it holds open."""
    try:
        files = [os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return False
    return "anon_inode:bpf-map" in files
