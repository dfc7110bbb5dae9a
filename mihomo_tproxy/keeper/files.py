"""Replacing a file so that either the old or the new one is there, whenever the power goes."""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import sha256
from typing import Final

PIECE: Final = 1 << 20


class Draft:
    """A file being written beside the one it is to replace.

    Its name is always the same, so that a crash leaves one behind at most, and the next overwrites
    it. A context manager: what was not put in place by the end is removed.
    Who may read the old file may read the new one; a first one is for this user alone: it may have
    passwords of proxies.
    """

    def __init__(self, path: str) -> None:
        """Begin.

        Raises:
            OSError: it cannot be written there.
        """
        self.target = path
        self.path = f"{path}.download"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(self.path, flags, 0o600)
        os.fchmod(self._descriptor, _mode_of(path))
        self._digest = sha256()
        self._kept = False

    @property
    def digest(self) -> str:
        """SHA-256 of what has been written, in hex."""
        return self._digest.hexdigest()

    def write(self, data: bytes) -> None:
        """Append. Raises OSError."""
        self._digest.update(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def sync(self) -> None:
        """Have it on the disk. Takes as long as the disk. Raises OSError."""
        os.fsync(self._descriptor)

    def put_in_place(self) -> None:
        """Replace the old file; on the disk when this returns. Raises OSError."""
        os.replace(self.path, self.target)
        self._kept = True
        directory = os.open(os.path.dirname(self.target), os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def __enter__(self) -> Draft:
        return self

    def __exit__(self, *_exc: object) -> None:
        os.close(self._descriptor)
        if not self._kept:
            # It is gone if a thread of a cancelled task just put it in place.
            with suppress(FileNotFoundError):
                os.unlink(self.path)


def _mode_of(path: str) -> int:
    try:
        return os.stat(path).st_mode & 0o777
    except OSError:
        return 0o600


def digest_of(path: str) -> str:
    """SHA-256 of a file, in hex; "" if it cannot be read."""
    digest = sha256()
    try:
        with open(path, "rb") as file:
            while data := file.read(PIECE):
                digest.update(data)
    except OSError:
        return ""
    return digest.hexdigest()
