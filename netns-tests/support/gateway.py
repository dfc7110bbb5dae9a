"""The gateway under test, running in a rig's gateway node.

    with Gateway(rig, {"rules": ["DST-PORT,1,REJECT", "MATCH,DIRECT"]}) as gateway:
        before = gateway.routes()
        ...
        assert gateway.since(before).relay.flows == 0

A configuration is a dict (which gets `gateway.lan`: the rig's LAN, unless it says otherwise) or
the text of a file. Leaving the block stops the daemon, and asserts that it ended with 0 and left
the host as it was, unless the test has killed it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from mihomo_tproxy.rig import Node, Process, Rig

ROOT = Path(__file__).resolve().parents[2]
READY_S = 30.0
WAIT_S = 10.0
POLL_S = 0.02
PUBLISH_S = 1.0
"""How often workers publish their counters."""


class Count(NamedTuple):
    """Packets, bytes and new flows of one route."""

    packets: int
    bytes: int
    flows: int


class Routes:
    """Counters by route, as attributes: kernel, relay, drop, open, closed, bypass, own, ..."""

    def __init__(self, counts: dict[str, Count]) -> None:
        self.counts = counts

    def __getattr__(self, name: str) -> Count:
        try:
            return self.counts[name]
        except KeyError:
            raise AttributeError(name) from None

    def __repr__(self) -> str:
        return repr({name: tuple(count) for name, count in self.counts.items() if any(count)})

    def __sub__(self, other: Routes) -> Routes:
        return Routes(
            {
                name: Count(*(a - b for a, b in zip(count, other.counts[name], strict=True)))
                for name, count in self.counts.items()
            }
        )


def wait_until(reached: Callable[[], Any], what: str, timeout: float = WAIT_S) -> Any:
    """Polls until `reached()` is true and returns what it gave; fails after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = reached()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not reached in {timeout} s; last was {value!r}")
        time.sleep(POLL_S)


def environment() -> dict[str, str]:
    """The environment in which the command finds the package under test."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def command(*arguments: str) -> list[str]:
    """The command line of the product."""
    return [sys.executable, "-m", "mihomo_tproxy", *arguments]


class Gateway:
    """One daemon in one node."""

    def __init__(
        self, rig: Rig, config: dict[str, Any] | str | None = None, *, node: Node | None = None
    ) -> None:
        self.rig = rig
        self.node = node or rig.gateway
        self.file = self.node.directory / f"{self.node.name}.yaml"
        self.process: Process
        self.before: dict[str, Any] = {}
        """What the host looked like before the start, see `traces`."""
        self._may_leave = False
        self.configure(config)

    def configure(self, config: dict[str, Any] | str | None) -> None:
        """Writes the file; a daemon that runs does not notice before `reload`."""
        if not isinstance(config, str):
            config = dict(config or {})
            config["gateway"] = {"lan": self.rig.lan_interfaces, **config.get("gateway", {})}
            config = json.dumps(config)  # JSON is YAML
        self.file.write_text(config, encoding="utf-8")

    # Life.

    def start(self, *, prefix: Sequence[str] = ()) -> Gateway:
        """Starts it and waits until it is ready; `prefix` is a command that runs the rest."""
        if not self.before:
            self.before = self.traces()
        self.process = self.node.start(
            [*prefix, *command("run", "-f", str(self.file))], env=environment()
        )
        self._may_leave = False
        self.process.wait_for_line(r"ready: ", READY_S)
        return self

    def reload(self, config: dict[str, Any] | str, *, fails: bool = False) -> None:
        """Has it read another configuration, and waits until it has (or, with `fails`, refused)."""
        patterns = (r"reload failed", r"reloaded: ")
        seen = [self._lines(pattern) for pattern in patterns]
        self.configure(config)
        self.process.send_signal(signal.SIGHUP)
        wait_until(
            lambda: (
                not self.process.running or [self._lines(pattern) for pattern in patterns] != seen
            ),
            "answer to SIGHUP",
        )
        assert self.process.running, self.output
        failed = self._lines(patterns[0]) > seen[0]
        assert failed == fails, self.output

    def _lines(self, pattern: str) -> int:
        return len(re.findall(pattern, self.output))

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        return self.process.stop(10.0)

    def kill(self) -> None:
        """SIGKILL to the supervisor, and waits until its workers are gone too."""
        workers = self.workers()
        self._may_leave = True
        self.process.kill()
        wait_until(lambda: not any(is_alive(pid) for pid in workers), "end of the workers")

    def __enter__(self) -> Gateway:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        code = self.stop() if self.process.running else self.process.returncode
        if error is None and not self._may_leave:
            assert code == 0, self.output
            self.assert_nothing_left()

    def assert_nothing_left(self) -> None:
        """The host is as it was before the start."""
        now = self.traces()
        changed = {key: (self.before.get(key), value) for key, value in now.items()}
        changed = {key: (old, new) for key, (old, new) in changed.items() if old != new}
        assert not changed, f"before and after: {changed}"

    # What it shows.

    @property
    def output(self) -> str:
        """Its log so far."""
        return self.process.output

    def run(self, *arguments: str, check: bool = True) -> Any:
        """Runs a command of the product in the same node, such as `status`."""
        return self.node.run(command(*arguments), env=environment(), check=check)

    def status(self) -> dict[str, Any]:
        """The counters, all of them."""
        report: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return report

    def routes(self) -> Routes:
        """Packets, bytes and flows by route; the kernel's, so they are current."""
        return Routes({name: Count(**c) for name, c in self.status()["routes"].items()})

    def since(self, before: Routes) -> Routes:
        """What was counted after `before` was read."""
        return self.routes() - before

    def counter(self, name: str) -> int:
        """A counter of the workers, summed; they publish once a second."""
        return sum(counters.get(name, 0) for counters in self.status()["workers"].values())

    def settled_counter(self, name: str) -> int:
        """The same after the workers have published what happened up to now."""
        time.sleep(1.2 * PUBLISH_S)
        return self.counter(name)

    def wait_counter(
        self, name: str, reached: Callable[[int], bool], timeout: float = WAIT_S
    ) -> int:
        """Waits until a counter of the workers is as wanted, and returns it."""
        values: list[int] = []

        def as_wanted() -> bool:
            values.append(self.counter(name))
            return reached(values[-1])

        wait_until(as_wanted, f"counter {name}", timeout)
        return values[-1]

    def errors(self) -> dict[str, int]:
        """Failed flows by cause, over all workers."""
        found: dict[str, int] = {}
        for counters in self.status()["workers"].values():
            for name, value in counters.items():
                if name.startswith("error:"):
                    cause = name.removeprefix("error:")
                    found[cause] = found.get(cause, 0) + value
        return found

    def workers(self) -> list[int]:
        """Process ids of the relay workers."""
        return children_of(self.process.pid)

    def memory_kib(self) -> int:
        """Proportional set size of the supervisor and its workers."""
        return sum(pss_kib(pid) for pid in (self.process.pid, *self.workers()))

    def traces(self) -> dict[str, Any]:
        """What a gateway could leave behind in this node: rules, routes, filters, pins, state."""
        number = (Path("/run/netns") / self.node.netns).stat().st_ino
        found: dict[str, Any] = {}
        for family in ("-4", "-6"):
            for what in (("rule",), ("route", "show", "table", "all")):
                listing = self.node.run(["ip", family, *what]).stdout
                found[" ".join((family, *what))] = sorted(
                    line
                    for line in listing.splitlines()
                    # The kernel's own come by themselves, a link-local address as late as it likes.
                    if "proto kernel" not in line and ("dev lo" not in line or "proto" in line)
                )
        links = json.loads(self.node.run(["ip", "-j", "link"]).stdout)
        for link in links:
            found[link["ifname"]] = self.node.run(
                ["tc", "qdisc", "show", "dev", link["ifname"]]
            ).stdout
        pins = Path("/sys/fs/bpf/mihomo-tproxy")
        state = Path("/run/mihomo-tproxy")
        found["left"] = [
            str(path)
            for path in (
                *(pins / f"{number}", pins / f"{number}-new"),
                *(state / f"{number}.json", state / f"{number}.sock"),
            )
            if path.exists()
        ]
        return found


def children_of(pid: int) -> list[int]:
    """The living children of a process."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(word) for word in text.split()]


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def pss_kib(pid: int) -> int:
    """Proportional set size of a process in KiB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    match = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    assert match, text
    return int(match[1])
