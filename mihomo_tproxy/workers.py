"""The supervisor's side of the relay workers: fork, watch, reload, replace, end.

A worker talks over one socket pair (`messages`). Workers end with their parent
(PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import pickle
import select
import signal
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from mihomo_tproxy.children import end_with_parent, fork_with_sockets
from mihomo_tproxy.errors import WorkerFailed
from mihomo_tproxy.messages import NEWS, receive_message, send_message

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from mihomo_tproxy.messages import Setup
    from mihomo_tproxy.model.group_state import GroupState

log = logging.getLogger("supervisor")

READY_S: Final = 20.0
STOP_S: Final = 3.0
BACKOFF_S: Final = (0.0, 0.2, 0.5, 1.0, 2.0)
"""Wait before the n-th start in a row; after the last one the gateway gives up."""
STEADY_S: Final = 30.0
"""A worker that lived this long starts the count anew."""


class WorkerRefused(WorkerFailed):
    """A worker cannot carry a configuration out, and keeps the one it has."""


class _Worker:
    """One slot: the process in it now, and when to try again."""

    __slots__ = ("control", "failures", "index", "pid", "start_at", "started")

    def __init__(self, index: int) -> None:
        self.index = index
        self.pid = 0
        self.control: socket.socket | None = None
        self.failures = 0
        self.started = 0.0
        self.start_at = 0.0


class Workers:
    """All relay workers of a gateway."""

    def __init__(self, pins: str, count: int, let_go: Callable[[], None] = lambda: None) -> None:
        """`let_go`: run in each child first, to close what is the supervisor's."""
        self._pins = pins
        self._let_go = let_go
        self.setup: Setup
        """What they decide by."""
        self.image = -1
        """Descriptor of the rules' image, for those who start."""
        self.news: list[tuple[Any, ...]] = []
        """What workers said that nobody asked for, oldest first."""
        self.modules: tuple[str, ...] = ()
        """What the configuration needs besides; loaded before a fork, for all to share."""
        self._workers = [_Worker(index) for index in range(count)]

    def start(self) -> None:
        """Start every worker and wait until it listens.

        Raises:
            WorkerFailed: one could not start; the sentence is its own.
        """
        for worker in self._workers:
            self._fork(worker)
        for worker in self._workers:
            self._await(worker, "ready")

    def _fork(self, worker: _Worker) -> None:
        _import_worker(self.modules)
        ours, theirs, pid, parent = fork_with_sockets()
        if pid == 0:
            end_with_parent(parent)
            ours.close()
            self._let_go()
            _become_worker(theirs, worker.index, self._pins, self.setup, self.image)
        theirs.close()
        ours.settimeout(READY_S)
        worker.pid, worker.control, worker.started = pid, ours, time.monotonic()

    def close_controls(self) -> None:
        """In a forked child: let go of what is the supervisor's."""
        for worker in self._workers:
            if worker.control:
                worker.control.close()

    def controls(self) -> list[int]:
        """Descriptors that become readable when a worker has news."""
        return [worker.control.fileno() for worker in self._workers if worker.control]

    def listen(self, descriptor: int) -> None:
        """Take a worker's news from a readable descriptor; its death is for `revive`.

        One that does not talk any more, or no sense, is replaced.
        """
        for worker in self._workers:
            if worker.control and worker.control.fileno() == descriptor:
                try:
                    message = receive_message(worker.control)
                except (OSError, ValueError, pickle.UnpicklingError):
                    message = None
                if message is None:
                    worker.control.close()
                    worker.control = None
                    os.kill(worker.pid, signal.SIGKILL)
                else:
                    self.news.append(message)

    def _await(self, worker: _Worker, expected: str) -> None:
        try:
            message = receive_message(worker.control) if worker.control else None
            while message is not None and message[0] in NEWS:
                self.news.append(message)
                message = receive_message(worker.control) if worker.control else None
        except TimeoutError:
            message = ("error", f"worker {worker.index} does not answer")
        except OSError:
            message = None
        if message is None:
            message = ("error", f"worker {worker.index} died")
        if message[0] == "refused":
            raise WorkerRefused(f"worker {worker.index}: {message[1]}")
        if message[0] != expected:
            raise WorkerFailed(str(message[1]))

    def reload(self, setup: Setup, image: int) -> None:
        """Every worker decides new flows by the new configuration when this returns.

        A worker that does not answer is replaced, by a new one that does.

        Raises:
            WorkerFailed: a worker cannot carry it out, and goes on as before; others may not.
        """
        self.setup, self.image = setup, image
        self._tell(("reload", setup), "reloaded", image, may_refuse=True)

    def restore(self, setup: Setup, image: int) -> None:
        """As `reload`, of a configuration that was in force: who refuses it is replaced, too."""
        self.setup, self.image = setup, image
        self._tell(("reload", setup), "reloaded", image)

    def regroup(self, state: GroupState, epoch: int) -> None:
        """Every worker's groups choose by this state, of this epoch, when this returns."""
        self.setup = self.setup._replace(state=state, epoch=epoch)
        self._tell(("groups", state, epoch), "regrouped")

    def _tell(
        self,
        message: tuple[Any, ...],
        answer: str,
        descriptor: int = -1,
        *,
        may_refuse: bool = False,
    ) -> None:
        for worker in self._workers:
            if not worker.control:
                continue
            try:
                send_message(worker.control, message, descriptor)
                self._await(worker, answer)
            except (OSError, WorkerFailed) as error:
                if may_refuse and isinstance(error, WorkerRefused):
                    raise
                log.error("worker %d does not follow: %s", worker.index, error)
                os.kill(worker.pid, signal.SIGKILL)

    def revive(self) -> None:
        """Reap workers that died and start those whose time has come.

        Raises:
            WorkerFailed: one dies again and again.
        """
        now = time.monotonic()
        for worker in self._workers:
            if worker.pid and self._reap(worker, now):
                log.error("worker %d died", worker.index)
            if not worker.pid and now >= worker.start_at:
                try:
                    self._fork(worker)
                    self._await(worker, "ready")
                except WorkerFailed as error:
                    log.error("worker %d: %s", worker.index, error)
                    if not worker.pid:
                        self._put_off(worker, now)
                    continue
                log.info("worker %d is back", worker.index)

    def _reap(self, worker: _Worker, now: float) -> bool:
        done, _status = os.waitpid(worker.pid, os.WNOHANG)
        if not done:
            return False
        if worker.control:
            worker.control.close()
        worker.pid, worker.control = 0, None
        if now - worker.started > STEADY_S:
            worker.failures = 0
        self._put_off(worker, now)
        return True

    def _put_off(self, worker: _Worker, now: float) -> None:
        if worker.failures >= len(BACKOFF_S):
            raise WorkerFailed(f"worker {worker.index} dies again and again: giving up")
        worker.start_at = now + BACKOFF_S[worker.failures]
        worker.failures += 1

    def next_start_ms(self) -> int | None:
        """How long the supervisor may sleep; None: until something happens."""
        waiting = [worker.start_at for worker in self._workers if not worker.pid]
        if not waiting:
            return None
        return max(0, int((min(waiting) - time.monotonic()) * 1000) + 1)

    def stop(self) -> None:
        """End every worker, kindly first."""
        deadline = time.monotonic() + STOP_S
        alive = [worker for worker in self._workers if worker.pid]
        for worker in alive:
            os.kill(worker.pid, signal.SIGTERM)
        for worker in alive:
            if not _wait(worker.pid, deadline):
                os.kill(worker.pid, signal.SIGKILL)
                os.waitpid(worker.pid, 0)
            worker.pid = 0


def _wait(pid: int, deadline: float) -> bool:
    while time.monotonic() < deadline:
        done, _status = os.waitpid(pid, os.WNOHANG)
        if done:
            return True
        select.select([], [], [], 0.01)
    return False


def _import_worker(modules: tuple[str, ...]) -> None:
    """Load the worker's modules here, so that parent and children share their pages.

    Frozen, no collector touches them; only what is used is copied. Nothing of it runs here.
    """
    from mihomo_tproxy.net.loop import import_loop

    import_loop()
    import mihomo_tproxy.worker  # noqa: F401

    for module in modules:
        import_module(module)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    gc.freeze()


def _become_worker(control: socket.socket, index: int, pins: str, setup: Setup, image: int) -> None:
    """The forked child's whole life; never returns."""
    become_child()
    code = 1
    try:
        from mihomo_tproxy.worker import run_worker

        run_worker(control, index, pins, setup, image)
        code = 0
    except BaseException:
        log.exception("worker %d", index)
    finally:
        os._exit(code)


def become_child() -> None:
    """In a forked child that lives long: signals are no longer the supervisor's."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
