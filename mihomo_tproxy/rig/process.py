"""A program running in a node: its output in a file, its end in the caller's hands.

Standard output and standard error go to one log file, so a program that nobody reads from never
blocks and what it said is there after its death. Every wait has a timeout in seconds.
"""

from __future__ import annotations

import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mihomo_tproxy.errors import RigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

POLL_S = 0.01
_TAIL = 2000
_LISTENING = {"tcp": "0A", "udp": "07"}


class Process:
    """One program started by `Node.start`."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        name: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        """For messages: node and program."""
        self.log = log
        """Where its output goes."""
        try:
            with log.open("wb") as output:
                self._popen = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=env,
                    cwd=cwd,
                    start_new_session=True,
                )
        except OSError as error:
            raise RigError(f"{name}: cannot be started: {error.strerror}") from None

    @property
    def pid(self) -> int:
        """Its process id; nsenter has replaced itself by the program."""
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """Exit code, negative for a signal; None while it runs."""
        return self._popen.poll()

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._popen.poll() is None

    @property
    def output(self) -> str:
        """What it has printed so far. Gone with the rig, unless that has a log directory."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def send_signal(self, number: int) -> None:
        """Sends a signal; an ended process is left alone."""
        with suppress(ProcessLookupError):
            self._popen.send_signal(number)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Sends SIGKILL, or another signal, and for SIGKILL waits until it is gone."""
        self.send_signal(number)
        if number == signal.SIGKILL:
            self.wait()

    def stop(self, timeout: float = 5.0) -> int:
        """SIGTERM, and SIGKILL when it has not ended after `timeout` seconds. Its exit code."""
        self.send_signal(signal.SIGTERM)
        try:
            return self.wait(timeout)
        except RigError:
            self.kill()
            return self.wait()

    def wait(self, timeout: float = 30.0) -> int:
        """Its exit code once it has ended. Raises RigError after `timeout` seconds."""
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise RigError(f"{self.name} has not ended in {timeout} s{self._tail()}") from None

    def wait_for_line(self, pattern: str, timeout: float = 10.0) -> re.Match[str]:
        """The first place in the output where the regular expression `pattern` matches.

        `^` and `$` match at lines. Raises RigError when the process ends first or after `timeout`.
        """
        expression = re.compile(pattern, re.MULTILINE)
        found: list[re.Match[str]] = []

        def printed() -> bool:
            match = expression.search(self.output)
            if match is not None:
                found.append(match)
            return bool(found)

        self._wait_until(printed, f"has not printed {pattern!r}", timeout)
        return found[0]

    def wait_for_port(self, port: int, network: str = "tcp", timeout: float = 10.0) -> None:
        """Returns when something in its namespace listens on `port` (`tcp` or `udp`).

        Raises RigError when the process ends first or after `timeout` seconds.
        """
        local, state = f":{port:04X}", _LISTENING[network]

        def listening() -> bool:
            for family in ("", "6"):
                with suppress(OSError):
                    table = Path(f"/proc/{self.pid}/net/{network}{family}").read_text("ascii")
                    for line in table.splitlines()[1:]:
                        columns = line.split()
                        if columns[1].endswith(local) and columns[3] == state:
                            return True
            return False

        self._wait_until(listening, f"does not listen on {network} port {port}", timeout)

    def _wait_until(self, reached: Callable[[], bool], failure: str, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while True:
            running = self.running
            if reached():
                return
            if not running:
                raise RigError(f"{self.name} ended ({self.returncode}) and {failure}{self._tail()}")
            if time.monotonic() > deadline:
                raise RigError(f"{self.name} {failure} in {timeout} s{self._tail()}")
            time.sleep(POLL_S)

    def _tail(self) -> str:
        text = self.output[-_TAIL:].strip()
        return f"; it printed:\n{text}" if text else ""
