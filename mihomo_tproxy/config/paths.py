"""Paths that a configuration names: files of ours live inside the home directory, as in mihomo."""

from __future__ import annotations

import os


def inside_home(home: str, path: str) -> str:
    """The absolute path of a file, relative ones taken from the home directory.

    Raises:
        ValueError: it lies outside, also by way of a symbolic link; the text says so.
    """
    base = os.path.realpath(home or ".")
    full = os.path.realpath(os.path.join(base, os.path.expanduser(path)))
    if os.path.commonpath([base, full]) != base or full == base:
        raise ValueError(f"{path!r} is not inside the home directory {base}")
    return full
