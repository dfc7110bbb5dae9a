"""Run a function in a forked child and get its result: heavy imports go away with the child.

For the supervisor, which must stay small: YAML, msgspec and pyroute2 are imported only here.
Fork, not exec: the parent is single-threaded and the child inherits what it needs.
"""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import select
import signal
import socket
import time
from typing import TYPE_CHECKING, Final, TypeVar

from mihomo_tproxy.errors import GatewayError, WorkerFailed

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

TIMEOUT_S: Final = 180
PR_SET_PDEATHSIG: Final = 1


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this forked child when its parent, of that id, is gone."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def fork_with_sockets() -> tuple[socket.socket, socket.socket, int, int]:
    """Fork: the parent's and the child's end of a socket pair, the child's id, the parent's id.

    Raises:
        WorkerFailed: the host has no room for a process, or no descriptor is left.
    """
    parent = os.getpid()
    try:
        ours, theirs = socket.socketpair()
    except OSError as error:
        raise WorkerFailed(f"no process can be started: {error.strerror}") from error
    try:
        pid = os.fork()
    except OSError as error:
        ours.close()
        theirs.close()
        raise WorkerFailed(f"no process can be started: {error.strerror}") from error
    return ours, theirs, pid, parent


def run_in_child(work: Callable[[], T], what: str) -> T:
    """The result of `work()`, which must be picklable.

    Raises:
        GatewayError: raised by `work` itself, passed on.
        WorkerFailed: the child broke, died, took more than `TIMEOUT_S`, or the host has no room for
            it; `what` names it.
    """
    try:
        ours, theirs, pid, parent = fork_with_sockets()
    except WorkerFailed as error:
        raise WorkerFailed(f"{what}: {error}") from error
    if pid == 0:
        end_with_parent(parent)
        ours.close()
        _serve(work, theirs.detach())
    theirs.close()
    try:
        data = _read_all(ours.fileno(), time.monotonic() + TIMEOUT_S)
    finally:
        ours.close()
        if _still_runs(pid):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    if not data:
        raise WorkerFailed(f"{what} ended without a result")
    outcome, value = pickle.loads(data)  # noqa: S301 (our own child wrote it)
    if outcome == "error":
        raise value
    if outcome == "broken":
        raise WorkerFailed(f"{what} failed: {value}")
    return value  # type: ignore[no-any-return]


def _serve(work: Callable[[], T], writer: int) -> None:
    """The child's whole life; never returns."""
    gc.disable()  # What it leaves goes with it; looking for it in large lists takes a third more.
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        result = pickle.dumps(("ok", work()))
    except GatewayError as error:
        result = pickle.dumps(("error", error))
    except BaseException as error:  # the parent must hear of it, whatever it is
        result = pickle.dumps(("broken", f"{type(error).__name__}: {error}"))
    view = memoryview(result)
    try:
        while view:
            view = view[os.write(writer, view) :]
    finally:
        os._exit(0)


def _read_all(fd: int, deadline: float) -> bytes:
    chunks: list[bytes] = []
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not poller.poll(left * 1000):
            return b""
        chunk = os.read(fd, 1 << 16)
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)


def _still_runs(pid: int) -> bool:
    """Reap the child if it is about to end; whether it does not."""
    for _ in range(50):
        done, _status = os.waitpid(pid, os.WNOHANG)
        if done:
            return False
        time.sleep(0.01)
    return True
