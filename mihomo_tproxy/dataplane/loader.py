"""Compile `bpf/gateway.c` with bcc, load it, pin programs and maps, exit.

A program of its own, run by whichever interpreter can `import bcc` (Debian's and Ubuntu's
python3-bpfcc serves the system's python3): libbcc carries LLVM and 140 MB that no long-lived
process should hold. It imports nothing of this package. Usage:

    python3 loader.py SOURCE_DIR PIN_DIR [HEADERS]

Prints one JSON object: {"ok": true, "seconds": s} or {"ok": false, "stage": ..., "error": ...}.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import sys
import tempfile
import time

CLONE_NEWNS, MS_PRIVATE, MS_REC = 0x20000, 1 << 18, 1 << 14
SCHED_CLS, CGROUP_SOCK_ADDR, SK_LOOKUP = 3, 18, 30
PROGRAMS = {
    "lan_ingress": (SCHED_CLS, -1),
    "lan_egress": (SCHED_CLS, -1),
    "pick_listener": (SK_LOOKUP, 36),
    "local_connect4": (CGROUP_SOCK_ADDR, 10),
    "local_connect6": (CGROUP_SOCK_ADDR, 11),
    "local_sendmsg4": (CGROUP_SOCK_ADDR, 14),
    "local_sendmsg6": (CGROUP_SOCK_ADDR, 15),
}
"""Name -> (program type, expected attach type or -1), numbers of `enum bpf_prog_type` and
`enum bpf_attach_type`."""
MAPS = (
    "settings", "own", "prefixes", "clients", "macs", "lan", "verdicts", "flows", "claimed",
    "claims", "fragments", "totals", "client_stats", "worker_stats", "listeners",
)  # fmt: skip
INCLUDE = re.compile(r'^#include "([a-z_]+\.[ch])"$', re.MULTILINE)


class LoadFailed(Exception):
    """A stage of the work failed; the message is for the user."""

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage


def read_source(directory: str, name: str = "gateway.c") -> str:
    """The translation unit in one text: bcc rewrites map operations only in the main file."""

    def inline(match: re.Match[str]) -> str:
        included = match.group(1)
        return f'#line 1 "{included}"\n{read_source(directory, included)}'

    with open(os.path.join(directory, name), encoding="utf-8") as file:
        return INCLUDE.sub(inline, file.read())


def link_tree(target: str, sources: list[str]) -> None:
    """Merge header trees into one of symlinks; later sources win."""
    for source in sources:
        for entry in os.scandir(source):
            place = os.path.join(target, entry.name)
            if entry.is_dir() and not (entry.is_symlink() and os.path.islink(place)):
                if os.path.islink(place):
                    under = os.readlink(place)
                    os.unlink(place)
                    os.mkdir(place)
                    link_tree(place, [under])
                if os.path.isdir(place):
                    link_tree(place, [entry.path])
                else:
                    os.symlink(entry.path, place)
            else:
                if os.path.lexists(place):
                    os.unlink(place)
                os.symlink(entry.path, place)


def private_directory(needed: list[str]) -> str | None:
    """A directory on a file system of this process's own: it goes with it, also when it is killed.

    It is laid over /mnt (FHS 3.0). None without the privilege, or when something `needed` is there.
    """
    if any(os.path.realpath(path).startswith("/mnt/") for path in needed):
        return None
    libc = ctypes.CDLL(None)
    if libc.unshare(CLONE_NEWNS) or libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None):
        return None
    return None if libc.mount(b"tmpfs", b"/mnt", b"tmpfs", 0, None) else "/mnt"


def load(source: str, pins: str) -> None:
    """Compile and load everything, then pin it under `pins` (created here)."""
    try:
        from bcc import BPF, lib
    except ImportError as error:
        raise LoadFailed("bcc", f"this python cannot import bcc: {error}") from error
    if not hasattr(lib, "bpf_prog_load") and not hasattr(lib, "bcc_prog_load"):
        raise LoadFailed("bcc", "the module bcc of this python is not the BPF compiler collection")
    try:
        module = BPF(text=source, cflags=["-Wno-address-of-packed-member", "-Wno-unused-function"])
    except Exception as error:
        raise LoadFailed("compile", f"the BPF programs do not compile: {error}") from error
    fds = {}
    for name, (kind, attach) in PROGRAMS.items():
        try:
            fds[name] = module.load_func(name, kind, attach_type=attach).fd
        except Exception as error:
            raise LoadFailed("load", f"the kernel refused program {name}: {error}") from error
    for name in MAPS:
        fds[name] = lib.bpf_table_fd(module.module, name.encode())
    os.makedirs(pins, mode=0o700)
    for name, fd in fds.items():
        if fd < 0 or lib.bpf_obj_pin(fd, os.path.join(pins, name).encode()):
            raise LoadFailed("pin", f"cannot pin {name} under {pins}: is it on a bpffs?")


def main(arguments: list[str], place: str | None = None) -> int:
    """Load as told by the command line, with temporary files in `place`; reports to stdout."""
    started = time.monotonic()
    source, pins, headers = arguments[0], arguments[1], arguments[2:]
    try:
        with tempfile.TemporaryDirectory(prefix="bpf-headers-", dir=place) as tree:
            if headers:
                link_tree(tree, headers)
                os.environ["BCC_KERNEL_SOURCE"] = tree
            load(read_source(source), pins)
    except LoadFailed as error:
        print(json.dumps({"ok": False, "stage": error.stage, "error": str(error)}))  # noqa: T201
        return 1
    seconds = round(time.monotonic() - started, 3)
    print(json.dumps({"ok": True, "seconds": seconds}))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], private_directory(sys.argv)))
