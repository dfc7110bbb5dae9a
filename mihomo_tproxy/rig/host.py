"""What the rig asks of the host: network namespaces, the `ip` tool, sysctls, TUN devices, mounts.

Namespaces are named ones in /run/netns, as `ip netns` makes them. A thread enters one with setns(2)
and returns to where it was; sockets and TUN devices made inside stay there. `ip netns exec` is not
used: it remounts /sys and so hides bpffs.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mihomo_tproxy.errors import RigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

NETNS_DIR = Path("/run/netns")
BPFFS = Path("/sys/fs/bpf")
COMMAND_TIMEOUT_S = 30.0
RUNNING_TIMEOUT_S = 5.0
IFF_UP, IFF_RUNNING = 0x1, 0x40

_CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_TAP, _IFF_NO_PI = 0x1, 0x2, 0x1000

libc = ctypes.CDLL(None, use_errno=True)
"""The C library, for the system calls Python has no name for."""


def require_host() -> None:
    """Raises RigError when this process cannot build rigs: not root, or a tool is missing."""
    if os.geteuid() != 0:
        raise RigError("a rig needs root: it creates network namespaces")
    for tool, package in (("ip", "iproute2"), ("nsenter", "util-linux")):
        if shutil.which(tool) is None:
            raise RigError(f"a rig needs the command {tool} (package {package})")


def run_ip(lines: Sequence[str], netns: str | None = None, *, force: bool = False) -> None:
    """Runs lines of `ip` in one process, inside `netns` if given.

    `force` goes on after a line that fails and reports nothing. Raises RigError otherwise.
    """
    if not lines:
        return
    command = ["ip", *(["-n", netns] if netns else []), *(["-force"] if force else [])]
    script = "\n".join(lines) + "\n"
    try:
        done = subprocess.run(
            [*command, "-batch", "-"],
            input=script,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RigError(f"ip did not finish in {COMMAND_TIMEOUT_S:.0f} s: {lines[0]}") from None
    if done.returncode != 0 and not force:
        where = f" in {netns}" if netns else ""
        raise RigError(f"ip refused{where}: {' '.join(done.stderr.split())}")


def netns_path(netns: str) -> Path:
    """The file that names a namespace."""
    return NETNS_DIR / netns


@contextmanager
def inside(netns: str) -> Iterator[None]:
    """The calling thread is in `netns` for the block. Raises RigError when there is none."""
    try:
        target = os.open(netns_path(netns), os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise RigError(f"no namespace {netns}: {error.strerror}") from None
    try:
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(target)
            try:
                yield
            finally:
                _setns(home)
        finally:
            os.close(home)
    finally:
        os.close(target)


def _setns(descriptor: int) -> None:
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise RigError(f"cannot enter a namespace: {os.strerror(ctypes.get_errno())}")


def write_sysctls(netns: str, sysctls: dict[str, str]) -> None:
    """Sets sysctls of a namespace; dots separate, a slash stands for a dot within a name."""
    with inside(netns):
        for name, value in sysctls.items():
            path = sysctl_path(name)
            try:
                path.write_text(value)
            except OSError as error:
                raise RigError(f"cannot set {name}={value}: {error.strerror}") from None


def sysctl_path(name: str) -> Path:
    """The file of a sysctl: `net.ipv4.conf.lan0/10.rp_filter` is of the interface lan0.10."""
    return Path("/proc/sys") / name.translate(str.maketrans("./", "/."))


def wait_running(netns: str, interfaces: Iterable[str]) -> None:
    """Returns when the interfaces carry traffic. Raises RigError when they never do."""
    deadline = time.monotonic() + RUNNING_TIMEOUT_S
    for name in interfaces:
        while not interface_flags(netns, name) & IFF_RUNNING:
            if time.monotonic() > deadline:
                raise RigError(f"{name} in {netns} does not come up")
            time.sleep(0.001)
        _settle(netns, name)


def _settle(netns: str, interface: str) -> None:
    """Returns when the kernel has finished a change of the interface's state.

    It says that an interface runs before it has given it a queue, and loses packets in between. It
    does both under one lock; setting the flags as they are waits for that lock.
    """
    flags = interface_flags(netns, interface)
    request = struct.pack("16sH22x", interface.encode(), flags)
    with inside(netns), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SIOCSIFFLAGS, request)


def interface_flags(netns: str, interface: str) -> int:
    """IFF_* of an interface (netdevice(7)). Raises RigError when there is none."""
    request = struct.pack("16sH22x", interface.encode(), 0)
    with inside(netns), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            flags: int = struct.unpack_from("16xH", fcntl.ioctl(sock, _SIOCGIFFLAGS, request))[0]
        except OSError as error:
            raise RigError(f"{interface} in {netns}: {error.strerror}") from None
    return flags


def open_tun(netns: str, name: str, *, ethernet: bool = False) -> int:
    """Creates a TUN (or TAP) device in a namespace; it lives as long as the descriptor.

    Packets carry no header of the driver. The descriptor is non-blocking.
    """
    flags = (_IFF_TAP if ethernet else _IFF_TUN) | _IFF_NO_PI
    with inside(netns):
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
        except OSError as error:
            os.close(descriptor)
            raise RigError(f"cannot create {name}: {error.strerror}") from None
    return descriptor


def mounted(kind: str) -> list[Path]:
    """Where file systems of a kind are mounted, in the order of mounting."""
    found = []
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _, target, this_kind, *_ = line.split(" ")
        if this_kind == kind:
            found.append(Path(target))
    return found


def mount(kind: str, target: Path) -> None:
    """Mounts a file system without a device. Raises RigError when refused."""
    target.mkdir(parents=True, exist_ok=True)
    if libc.mount(kind.encode(), os.fsencode(target), kind.encode(), 0, None) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise RigError(f"cannot mount {kind} on {target}: {reason}")


def unmount(target: Path) -> None:
    """Undoes `mount`. Raises RigError when it is busy."""
    if libc.umount2(os.fsencode(target), 0) != 0:
        raise RigError(f"cannot unmount {target}: {os.strerror(ctypes.get_errno())}")
