"""Run the BPF loader in a process of its own, with an interpreter and headers that it finds.

Headers of any recent kernel do, since the programs use only UAPI structs. Looked for in this order:
`BCC_KERNEL_SOURCE`, the running kernel's build tree, /sys/kernel/kheaders.tar.xz (bcc unpacks it by
itself), any tree under /usr/src. Debian splits a tree in `-common` and an architecture's half;
the loader merges them.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from mihomo_tproxy.dataplane.bpf import obj_get
from mihomo_tproxy.errors import BpfUnavailable

BPFFS: Final = Path("/sys/fs/bpf")
BPF_FS_MAGIC: Final = "bpf"
LOAD_TIMEOUT_S: Final = 120
INSTALL_BCC: Final = (
    "install python3-bpfcc (scripts/setup does); `bcc` from PyPI is another package"
)


def source_dir() -> Path:
    """The C sources: in the installed package, else beside it in a checkout.

    Raises:
        BpfUnavailable: the installation is incomplete.
    """
    package = Path(__file__).resolve().parent.parent
    for place in (package / "_bpf", package.parent / "bpf"):
        if (place / "gateway.c").is_file():
            return place
    raise BpfUnavailable("the BPF sources are missing from this installation: reinstall it")


def find_interpreter() -> str:
    """A python that can import bcc: the distribution's first, since bcc is packaged for it.

    Raises:
        BpfUnavailable: none can.
    """
    for candidate in dict.fromkeys(["/usr/bin/python3", sys.executable, shutil.which("python3")]):
        if not candidate or not os.access(candidate, os.X_OK):
            continue
        probe = [candidate, "-I", "-c", "from bcc import BPF, lib; lib.bpf_table_fd"]
        if subprocess.run(probe, capture_output=True, timeout=60, check=False).returncode == 0:
            return candidate
    raise BpfUnavailable(f"no python3 here can import bcc: {INSTALL_BCC}")


def find_headers() -> list[str]:
    """The header trees to merge; [] when bcc finds its own.

    Raises:
        BpfUnavailable: there are none.
    """
    if os.environ.get("BCC_KERNEL_SOURCE"):
        return []
    build = Path("/lib/modules") / os.uname().release / "build"
    if (build / "include/generated/autoconf.h").exists() and (
        build / "include/uapi/linux/bpf.h"
    ).exists():
        return []
    if Path("/sys/kernel/kheaders.tar.xz").exists():
        return []
    trees = sorted(Path("/usr/src").glob("linux-headers-*"), reverse=True)
    for tree in trees:
        if not (tree / "include/generated/autoconf.h").exists():
            continue
        if (tree / "include/uapi/linux/bpf.h").exists():
            return [str(tree)]
        for base in trees:
            version = base.name.removesuffix("-common")
            if tree.name.startswith(version) and (base / "include/uapi/linux/bpf.h").exists():
                return [str(base), str(tree)]
    raise BpfUnavailable(
        "no kernel headers found: install linux-headers of any recent version (scripts/setup does)"
    )


def check_bpffs(root: Path = BPFFS) -> None:
    """Pins need a mounted bpffs.

    Raises:
        BpfUnavailable: there is none.
    """
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    if not any(line.split()[1:3] == [str(root), BPF_FS_MAGIC] for line in mounts):
        raise BpfUnavailable(f"bpffs is not mounted at {root}: mount -t bpf bpf {root}")


def load(pins: Path) -> float:
    """Compile, load and pin everything under the new directory `pins`; seconds it took.

    On failure nothing stays pinned.

    Raises:
        BpfUnavailable: with the one sentence that says what to do.
    """
    check_bpffs()
    command = [find_interpreter(), "-I", str(Path(__file__).with_name("loader.py"))]
    command += [str(source_dir()), str(pins), *find_headers()]
    pins.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LOAD_TIMEOUT_S, check=False
        )
        report = json.loads(done.stdout.strip().splitlines()[-1])
    except subprocess.TimeoutExpired:
        unpin(pins)
        raise BpfUnavailable(f"the BPF loader took longer than {LOAD_TIMEOUT_S} s") from None
    except (json.JSONDecodeError, IndexError):
        unpin(pins)
        tail = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise BpfUnavailable(f"the BPF loader failed: {tail[0]}") from None
    if not report["ok"]:
        unpin(pins)
        raise BpfUnavailable(_explain(report["stage"], report["error"], done.stderr))
    return float(report["seconds"])


def _explain(stage: str, error: str, output: str) -> str:
    if "Operation not permitted" in error + output and os.geteuid() != 0:
        return "loading BPF programs needs root"
    if stage == "load":
        return f"{error} (kernel {os.uname().release}; 5.15 or newer is needed)"
    reasons = [line.strip() for line in output.splitlines() if "error:" in line]
    return f"{error}: {reasons[0]}" if reasons else error


def unpin(pins: Path) -> None:
    """Remove a pin directory; what it held lives on only while in use."""
    shutil.rmtree(pins, ignore_errors=True)


def open_program(pins: Path, name: str) -> int:
    """An fd for a pinned program.

    Raises:
        BpfUnavailable: it is not there, or may not be opened.
    """
    try:
        return obj_get(str(pins / name))
    except OSError as error:
        hint = "root is needed" if error.errno in (errno.EPERM, errno.EACCES) else error.strerror
        raise BpfUnavailable(f"cannot open {pins / name}: {hint}") from error
