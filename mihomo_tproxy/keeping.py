"""The supervisor's side of the keeper: fork, talk, replace. See `mihomo_tproxy.keeper`.

The keeper is comfort, not the flow path: without it flows go on as the groups chose last. One that
dies is started again, less and less often. Messages to it never block for long: its end of the
socket pair is read by an event loop.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from typing import TYPE_CHECKING, Any, Final

from mihomo_tproxy.children import end_with_parent, fork_with_sockets
from mihomo_tproxy.errors import WorkerFailed
from mihomo_tproxy.messages import receive_message, send_message
from mihomo_tproxy.workers import become_child

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from mihomo_tproxy.model.group_state import GroupState

log = logging.getLogger("supervisor")

STOP_S: Final = 2.0
SEND_S: Final = 2.0
BACKOFF_S: Final = (0.2, 1.0, 5.0, 30.0, 300.0)


class Keeper:
    """The process, or the time until the next one."""

    def __init__(self, let_go: Callable[[], None]) -> None:
        """`let_go`: run in the child first, to close what is the supervisor's."""
        self._let_go = let_go
        self.pid = 0
        self.control: socket.socket | None = None
        self._failures = 0
        self._start_at = 0.0
        self._started = 0.0

    def start(self, config: bytes, state: GroupState, home: str, image: int) -> None:
        """Fork it; `image` is the descriptor of the rules' image.

        What the host has no room for is tried again later.
        """
        self._started = time.monotonic()
        try:
            ours, theirs, pid, parent = fork_with_sockets()
        except WorkerFailed as error:
            log.error("the keeper: %s", error)
            self._forget()
            return
        if pid == 0:
            end_with_parent(parent)
            ours.close()
            self._let_go()
            _become_keeper(theirs, config, state, home, image)
        theirs.close()
        ours.settimeout(SEND_S)
        self.pid, self.control = pid, ours

    def abandon(self) -> None:
        """In a forked child: it is not ours."""
        if self.control is not None:
            self.control.close()

    def tell(self, *message: Any, descriptor: int = -1) -> bool:
        """Send it a message, perhaps with a descriptor; whether it was there to take it."""
        if self.control is None:
            return False
        try:
            send_message(self.control, message, descriptor)
        except OSError as error:
            log.error("the keeper does not listen: %s", error)
            self._lose()
            return False
        return True

    def hear(self) -> tuple[Any, ...] | None:
        """The message that is there to be read; None when the keeper is gone."""
        if self.control is None:
            return None
        try:
            message = receive_message(self.control)
        except OSError:
            message = None
        if message is None:
            self._lose()
        return message

    def reap(self) -> bool:
        """Notice its death; whether it died."""
        if not self.pid:
            return False
        done, _status = os.waitpid(self.pid, os.WNOHANG)
        if done:
            log.error("the keeper died")
            self._forget()
        return bool(done)

    def due(self) -> bool:
        """Whether it is not there, and may be started again."""
        return not self.pid and time.monotonic() >= self._start_at

    def wait_s(self) -> float:
        """Seconds until it may be started again."""
        return max(0.0, self._start_at - time.monotonic())

    def stop(self) -> None:
        """End it, kindly first."""
        if not self.pid:
            return
        os.kill(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        while time.monotonic() < deadline:
            done, _status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                break
            time.sleep(0.01)
        else:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self._forget()
        self._start_at, self._failures = 0.0, 0

    def _lose(self) -> None:
        """It does not talk any more: it is replaced."""
        if self.control is not None:
            self.control.close()
            self.control = None
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)

    def _forget(self) -> None:
        if self.control is not None:
            self.control.close()
        if time.monotonic() - self._started > BACKOFF_S[-1]:
            self._failures = 0
        self._start_at = time.monotonic() + BACKOFF_S[min(self._failures, len(BACKOFF_S) - 1)]
        self._failures += 1
        self.pid, self.control = 0, None


def _become_keeper(
    control: socket.socket, config: bytes, state: GroupState, home: str, image: int
) -> None:
    """The forked child's whole life; never returns."""
    become_child()
    code = 1
    try:
        from mihomo_tproxy.keeper.process import run_keeper

        run_keeper(control, config, state, home, image)
        code = 0
    except BaseException:
        log.exception("keeper")
    finally:
        os._exit(code)
