"""Paths that a configuration names: files of ours live inside the home directory, as in mihomo."""

from __future__ import annotations

import os
import stat

_MAX_SHOWN = 128


def inside_home(home: str, path: str) -> str:
    """The absolute path of a file, relative ones taken from the home directory.

    Raises:
        ValueError: it lies outside, also by way of a symbolic link or `..`, or is no path at all;
            the text says so.
    """
    shown = repr(path if len(path) <= _MAX_SHOWN else path[: _MAX_SHOWN - 3] + "...")
    if not path or not path.isprintable():
        raise ValueError(f"{shown} is not a path")
    base = os.path.realpath(home or ".")
    full = os.path.realpath(os.path.join(base, os.path.expanduser(path)))
    if os.path.commonpath([base, full]) != base or full == base:
        raise ValueError(f"{shown} is not inside the home directory {base}")
    return full


def read_file(path: str, limit: int) -> bytes:
    """The content of a regular file.

    Never waits: whoever may write to the home directory could put a FIFO there.

    Args:
        limit: the most bytes it may have.

    Raises:
        OSError: it cannot be read.
        ValueError: larger than the limit, or not a regular file; the text says so.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("not a regular file")
        if found.st_size <= limit:
            data = file.read(limit + 1)
            if len(data) <= limit:
                return data
    raise ValueError(f"larger than {limit >> 20} MiB")
