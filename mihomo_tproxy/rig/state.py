"""What a rig has made on the host, on disk, so that anyone can take it down.

    /run/mihomo-tproxy-rig/NAME.json   one rig: owner, namespaces, pins
    /run/mihomo-tproxy-rig/NAME/       its logs and control files
    /run/mihomo-tproxy-rig/.mounts     file systems that were mounted for rigs
    /run/mihomo-tproxy-rig/.lock       held while any of these is changed

Invariants: a state file exists before the first namespace of its rig does and goes after the last
thing of it went; `clean` needs nothing but the state, so the rig, its guardian and `rig down` end
the same way. Mounts are shared by all rigs: who goes last unmounts.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mihomo_tproxy.errors import RigError
from mihomo_tproxy.rig import host

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

STATE_DIR = Path("/run/mihomo-tproxy-rig")
KILL_TIMEOUT_S = 5.0


@dataclass(slots=True)
class State:
    """One rig's marks on the host."""

    name: str
    prefix: str
    """Namespaces of the rig are named `PREFIX-NODE`."""
    owner: int
    """The process that holds the rig; 0: nobody, it stays until taken down."""
    owner_start: int
    """When the owner started, in clock ticks since boot: a process id alone can be reused."""
    namespaces: dict[str, str] = field(default_factory=dict)
    """Node to namespace."""
    pins: list[str] = field(default_factory=list)
    """Paths on bpffs to remove with all that is below."""

    @property
    def path(self) -> Path:
        """The state file."""
        return STATE_DIR / f"{self.name}.json"

    @property
    def directory(self) -> Path:
        """Logs and control files of the rig."""
        return STATE_DIR / self.name

    def save(self) -> None:
        """Replaces the state file at once."""
        draft = self.directory / ".state"
        draft.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        draft.replace(self.path)

    @property
    def orphaned(self) -> bool:
        """Whether the owner is gone without having taken the rig down."""
        return self.owner != 0 and process_start(self.owner) != self.owner_start


def claim(state: State) -> None:
    """Takes the name: creates directory and state file. Raises RigError when it is in use."""
    with locked():
        if state.path.exists():
            raise RigError(f"rig {state.name} is up already; take it down first")
        shutil.rmtree(state.directory, ignore_errors=True)
        state.directory.mkdir()
        state.save()


def load(path: Path) -> State | None:
    """The state in a file, None when it is gone. Raises RigError when it is not one."""
    try:
        return State(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise RigError(f"{path}: not a rig's state: {error}") from None


def all_states() -> list[State]:
    """Every rig on this host, by name."""
    states = (load(path) for path in sorted(STATE_DIR.glob("*.json")))
    return [state for state in states if state is not None]


def named(name: str) -> State:
    """The rig of that name. Raises RigError when none is up."""
    found = load(STATE_DIR / f"{name}.json")
    if found is None:
        raise RigError(f"no rig {name} is up")
    return found


def clean_orphans() -> dict[str, list[str]]:
    """Takes down every rig whose owner is dead; by name, what stayed of it."""
    return {found.name: clean(found) for found in all_states() if found.orphaned}


def leftovers(prefix: str) -> list[str]:
    """What rigs with this prefix have on the host: nothing, once they are down."""
    found = [f"namespace {path.name}" for path in host.NETNS_DIR.glob(f"{prefix}-*")]
    for mount in host.mounted("bpf"):
        found += [f"pin {path}" for path in mount.glob(f"{prefix}*")]
    needle = f"{prefix}-".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                if needle in (entry / "cmdline").read_bytes():
                    found.append(f"process {entry.name}")
    return found


@contextmanager
def locked() -> Iterator[None]:
    """Nobody else changes state files or shared mounts during the block."""
    STATE_DIR.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(STATE_DIR / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def ensure_mounts() -> None:
    """Mounts bpffs and cgroup2 where they are missing, and notes it for whoever goes last."""
    wanted = {"bpf": host.BPFFS, "cgroup2": STATE_DIR / ".cgroup2"}
    with locked():
        for kind, target in wanted.items():
            if not host.mounted(kind):
                host.mount(kind, target)
                with (STATE_DIR / ".mounts").open("a", encoding="utf-8") as notes:
                    notes.write(f"{_mount_namespace()} {target}\n")


def process_start(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None when it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def processes_in(namespaces: Iterable[str]) -> list[int]:
    """Processes whose main thread is in one of the namespaces, except this process."""
    inodes = set()
    for netns in namespaces:
        with suppress(OSError):
            inodes.add(host.netns_path(netns).stat().st_ino)
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                inode = os.stat(f"/proc/{entry.name}/ns/net").st_ino
            except OSError:
                continue
            if inode in inodes:
                found.append(int(entry.name))
    return found


def kill_processes(namespaces: Iterable[str]) -> list[int]:
    """Kills every process in the namespaces, also those that appear meanwhile; who stays.

    A dying process leaves its namespace before it closes its files, so each is waited for by id.
    """
    names = list(namespaces)
    killed: dict[int, int] = {}
    deadline = time.monotonic() + KILL_TIMEOUT_S
    while True:
        for pid in processes_in(names):
            start = process_start(pid)
            if start is not None:
                killed[pid] = start
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        alive = [pid for pid, start in killed.items() if process_start(pid) == start]
        if not alive or time.monotonic() > deadline:
            return alive
        time.sleep(0.002)


def remove_pin(path: Path) -> None:
    """Removes a pin, or a directory of pins. Raises RigError when it is not on bpffs."""
    if not any(path != root and path.is_relative_to(root) for root in host.mounted("bpf")):
        raise RigError(f"{path}: not below a bpffs mount")
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def clean(state: State) -> list[str]:
    """Takes everything of a rig from the host, whatever is left of it; one line for what stays."""
    problems = [f"process {pid} does not die" for pid in kill_processes(state.namespaces.values())]
    existing = [n for n in state.namespaces.values() if host.netns_path(n).exists()]
    host.run_ip([f"netns del {netns}" for netns in existing], force=True)
    problems += [f"namespace {n} stays" for n in existing if host.netns_path(n).exists()]
    for pin in state.pins:
        try:
            remove_pin(Path(pin))
        except (OSError, RigError) as error:
            problems.append(f"pin stays: {error}")
    with locked():
        shutil.rmtree(state.directory, ignore_errors=True)
        state.path.unlink(missing_ok=True)
        if not any(STATE_DIR.glob("*.json")):
            problems += _unmount_all()
    return problems


def _unmount_all() -> list[str]:
    """Undoes `ensure_mounts`, as far as it was done in our mount namespace; the lock is held."""
    notes = STATE_DIR / ".mounts"
    problems = []
    if notes.exists():
        for line in notes.read_text(encoding="utf-8").splitlines():
            namespace, _, target = line.partition(" ")
            if namespace == _mount_namespace():
                try:
                    host.unmount(Path(target))
                except RigError as error:
                    problems.append(str(error))
        notes.unlink()
        with suppress(OSError):
            (STATE_DIR / ".cgroup2").rmdir()
    return problems


def _mount_namespace() -> str:
    return str(os.stat("/proc/self/ns/mnt").st_ino)
