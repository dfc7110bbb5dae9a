"""Who we are in this network namespace: pins, lock and state, one of each per namespace.

The namespace's inode number names them, so instances in different namespaces of one host never
meet, and a second one in the same namespace is refused.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from typing import Any, Final

from mihomo_tproxy.dataplane.pins import BPFFS, unpin
from mihomo_tproxy.errors import DataplaneError

RUN_DIR: Final = "/run/mihomo-tproxy"
OWN_NETNS: Final = "/proc/self/ns/net"


class Instance:
    """The places of one network namespace's gateway."""

    def __init__(self, netns: str = OWN_NETNS) -> None:
        """Of the namespace a path names: this process's, or one of /run/netns."""
        self.number = os.stat(netns).st_ino
        self.pins = os.path.join(BPFFS, "mihomo-tproxy", str(self.number))
        self.new_pins = f"{self.pins}-new"
        self.state_path = os.path.join(RUN_DIR, f"{self.number}.json")
        self.control_path = os.path.join(RUN_DIR, f"{self.number}.sock")
        self._lock_fd = -1

    def lock(self) -> None:
        """Become the one instance here, until the process (and its workers) are gone.

        Raises:
            DataplaneError: another one runs, or the lock cannot be made.
        """
        while self._lock_fd < 0:
            try:
                os.makedirs(RUN_DIR, mode=0o755, exist_ok=True)
                fd = os.open(self.state_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except FileNotFoundError:
                continue  # the last of another namespace has just removed the directory
            except OSError as error:
                raise DataplaneError(f"cannot use {self.state_path}: {error.strerror}") from error
            self._take(fd)

    def _take(self, fd: int) -> None:
        """Lock an open state file, unless it was removed meanwhile by its last owner."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            pid = self.read_state().get("pid", "?")
            raise DataplaneError(
                f"mihomo-tproxy already runs in this network namespace (pid {pid})"
            ) from None
        if os.fstat(fd).st_nlink:
            self._lock_fd = fd
        else:
            os.close(fd)

    def unlock(self) -> None:
        """Give the lock back, and the state file if there was nothing before."""
        if not os.fstat(self._lock_fd).st_size:
            _remove_file(self.state_path)
            _remove_empty(RUN_DIR)
        os.close(self._lock_fd)

    def is_running(self) -> bool:
        """Whether some process holds the lock."""
        try:
            fd = os.open(self.state_path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def write_state(self, state: dict[str, Any]) -> None:
        """Say who runs here, for `status` and `cleanup`."""
        text = json.dumps(state).encode()
        os.pwrite(self._lock_fd, text, 0)
        os.ftruncate(self._lock_fd, len(text))

    def read_state(self) -> dict[str, Any]:
        """What the last instance here wrote; {} when there was none."""
        try:
            with open(self.state_path, encoding="utf-8") as file:
                state = json.load(file)
        except (OSError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    def adopt_new_pins(self) -> None:
        """The freshly loaded objects take the place of an earlier instance's."""
        unpin(self.pins)
        os.rename(self.new_pins, self.pins)

    def remove(self) -> bool:
        """Take away pins and state; whether there was anything."""
        found = os.path.exists(self.pins) or os.path.exists(self.new_pins)
        unpin(self.pins)
        unpin(self.new_pins)
        _remove_file(self.state_path)
        _remove_file(self.control_path)
        _remove_empty(os.path.dirname(self.pins))
        _remove_empty(RUN_DIR)
        return found


def _remove_file(path: str) -> None:
    """Remove a file that may be gone already."""
    with suppress(FileNotFoundError):
        os.unlink(path)


def _remove_empty(directory: str) -> None:
    """Remove a directory unless other namespaces' instances use it."""
    try:
        os.rmdir(directory)
    except OSError:
        return
