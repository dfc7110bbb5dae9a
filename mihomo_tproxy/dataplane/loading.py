"""Run the BPF loader in a process of its own, with an interpreter and headers that it finds.

Headers of any recent kernel do, since the programs use only UAPI structs. Looked for in this order:
`BCC_KERNEL_SOURCE`, the running kernel's build tree, /sys/kernel/kheaders.tar.xz (bcc unpacks it by
itself), any tree under /usr/src. Debian splits a tree in `-common` and an architecture's half;
the loader merges them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, Final

from mihomo_tproxy.children import end_with_parent
from mihomo_tproxy.dataplane.pins import check_bpffs, unpin
from mihomo_tproxy.errors import BpfUnavailable

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


def interpreters() -> list[str]:
    """Pythons that may have bcc: the distribution's first, since bcc is packaged for it."""
    candidates = ["/usr/bin/python3", sys.executable, shutil.which("python3") or ""]
    return [path for path in dict.fromkeys(candidates) if path and os.access(path, os.X_OK)]


def find_interpreter() -> str:
    """The python that can import bcc.

    Raises:
        BpfUnavailable: none can.
    """
    for candidate in interpreters():
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


def load(pins: str) -> float:
    """Compile, load and pin everything under the new directory `pins`; seconds it took.

    On failure nothing stays pinned.

    Raises:
        BpfUnavailable: with the one sentence that says what to do.
    """
    check_bpffs()
    parent = os.path.dirname(pins)
    arguments = [str(source_dir()), pins, *find_headers()]
    try:
        os.makedirs(parent, mode=0o700, exist_ok=True)
    except OSError as error:
        raise BpfUnavailable(f"cannot make {parent}: {error.strerror}") from error
    for interpreter in interpreters():
        try:
            report, output = _run_loader(interpreter, arguments)
        except BpfUnavailable:
            unpin(pins)
            raise
        if report["ok"]:
            return float(report["seconds"])
        unpin(pins)
        if report["stage"] != "bcc":
            raise BpfUnavailable(_explain(report["stage"], report["error"], output))
    raise BpfUnavailable(f"no python3 here can import bcc: {INSTALL_BCC}")


def _run_loader(interpreter: str, arguments: list[str]) -> tuple[dict[str, Any], str]:
    """The loader's report and what it printed besides."""
    command = [interpreter, "-I", str(Path(__file__).with_name("loader.py")), *arguments]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=LOAD_TIMEOUT_S,
            check=False,
            preexec_fn=partial(end_with_parent, os.getpid()),
        )
        report: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    except subprocess.TimeoutExpired:
        raise BpfUnavailable(f"the BPF loader took longer than {LOAD_TIMEOUT_S} s") from None
    except (json.JSONDecodeError, IndexError):
        tail = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise BpfUnavailable(f"the BPF loader failed: {tail[0]}") from None
    return report, done.stderr


def _explain(stage: str, error: str, output: str) -> str:
    if "Operation not permitted" in error + output:
        return (
            "loading BPF programs is not permitted: root with CAP_BPF, CAP_NET_ADMIN and "
            "CAP_SYS_ADMIN is needed, as a container or service may not have it"
        )
    if stage == "load":
        return f"{error} (kernel {os.uname().release}; 5.15 or newer is needed)"
    reasons = [line.strip() for line in output.splitlines() if "error:" in line]
    return f"{error}: {reasons[0]}" if reasons else error
