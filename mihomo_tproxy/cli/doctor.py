"""`mihomo-tproxy doctor`: what this machine has of what a gateway needs, and what to do.

Every check is a small experiment or a look, and leaves nothing behind. Checks that only matter for
an option say so and do not fail the whole.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from mihomo_tproxy.cli.table import render
from mihomo_tproxy.dataplane import loading
from mihomo_tproxy.dataplane import pins as pinned
from mihomo_tproxy.dataplane.instance import Instance
from mihomo_tproxy.dataplane.links import cgroup_root
from mihomo_tproxy.errors import GatewayError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

PRESENT, MISSING, NOTE = "present", "MISSING", "note"
CAP_NET_ADMIN: Final = 12
CAP_SYS_ADMIN: Final = 21
MIN_KERNEL: Final = (5, 15)


class Finding(NamedTuple):
    """The outcome of one check."""

    name: str
    state: str
    detail: str


def doctor(args: argparse.Namespace) -> int:
    """Print every finding; 0 when nothing needed is missing."""
    findings = examine()
    if args.json:
        print(json.dumps([finding._asdict() for finding in findings]))
    else:
        print(render(["what", "state", "detail"], findings))
    return 1 if any(finding.state == MISSING for finding in findings) else 0


def examine() -> list[Finding]:
    """All checks, in the order a gateway would meet them."""
    findings = [
        _check("kernel", _kernel),
        _check("privileges", _privileges),
        _check("bpffs", _bpffs),
        _check("bcc", loading.find_interpreter),
        _check("kernel headers", _headers),
        _check("BPF programs", _programs),
    ]
    findings += _network()
    findings += [
        _check("cgroup v2 (for gateway.local)", cgroup_root, needed=False),
        *_sysctls(),
        _running(),
    ]
    return findings


def _check(name: str, look: Callable[[], str], *, needed: bool = True) -> Finding:
    try:
        return Finding(name, PRESENT, look())
    except (GatewayError, OSError) as error:
        return Finding(name, MISSING if needed else NOTE, str(error))


def _kernel() -> str:
    release = os.uname().release
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2])
    if numbers < MIN_KERNEL:
        raise GatewayError(f"{release}: Linux 5.15 or newer is needed")
    return release


def _privileges() -> str:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("CapEff:"):
            effective = int(line.split()[1], 16)
            if all(effective >> bit & 1 for bit in (CAP_NET_ADMIN, CAP_SYS_ADMIN)):
                return "CAP_NET_ADMIN, CAP_SYS_ADMIN"
    raise GatewayError("root is needed (CAP_NET_ADMIN and CAP_SYS_ADMIN): run it with sudo")


def _bpffs() -> str:
    pinned.check_bpffs()
    return pinned.BPFFS


def _headers() -> str:
    return ", ".join(loading.find_headers()) or "found by bcc itself"


def _programs() -> str:
    """The experiment that counts: sched_cls, sk_lookup and cgroup programs load, with every map."""
    with tempfile.TemporaryDirectory(prefix="mihomo-tproxy-doctor-", dir=pinned.BPFFS) as place:
        pins = os.path.join(place, "pins")
        try:
            seconds = loading.load(pins)
        finally:
            pinned.unpin(pins)
    return f"sched_cls, sk_lookup, cgroup_sock_addr load in {seconds:.1f} s"


def _network() -> list[Finding]:
    try:
        from mihomo_tproxy.dataplane import netlink
        from mihomo_tproxy.dataplane.plan import PROTOCOL, choose_marking, select_lan

        host = netlink.look()
        marking = choose_marking(host.rules, host.tables)
    except GatewayError as error:
        return [Finding("policy routing", MISSING, str(error))]
    lan = select_lan(host.links, host.default_route, ())
    names = ", ".join(link.name for link in lan)
    foreign = sorted(
        f"{rule.priority}: fwmark {rule.mark:#x}/{rule.mask:#x} table {rule.table}"
        for rule in host.rules
        if rule.mark and rule.protocol != PROTOCOL
    )
    return [
        Finding(
            "LAN interfaces",
            PRESENT if lan else NOTE,
            f"{len(lan)} found: {names}" if lan else "none found: name them in gateway.lan",
        ),
        Finding(
            "mark and table",
            PRESENT,
            f"mark {marking.mark:#x}, table {marking.table}, priority {marking.priority} are free",
        ),
        *(
            Finding("rules of others", NOTE, f"{rule}: kept clear of")
            for rule in dict.fromkeys(foreign)
        ),
    ]


def _sysctls() -> list[Finding]:
    findings = []
    for path in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
        name = path.replace("/", ".")
        value = _sysctl(path)
        if value == "1":
            findings.append(Finding(name, PRESENT, "1"))
        else:
            detail = f"{value}: the kernel forwards nothing; sysctl -w {name}=1"
            findings.append(Finding(name, MISSING if "ipv4" in path else NOTE, detail))
    strict = _sysctl("net/ipv4/conf/all/rp_filter")
    if strict == "1":
        findings.append(Finding("net.ipv4.conf.all.rp_filter", NOTE, "1: strict, which is fine"))
    return findings


def _sysctl(path: str) -> str:
    try:
        return Path("/proc/sys", path).read_text(encoding="ascii").strip()
    except OSError:
        return "absent"


def _running() -> Finding:
    instance = Instance()
    if instance.is_running():
        return Finding("gateway", NOTE, f"runs here, pid {instance.read_state().get('pid')}")
    if os.path.exists(instance.pins):  # False, not an error, where only root may look
        return Finding("gateway", NOTE, "a dead instance left pins: mihomo-tproxy cleanup")
    return Finding("gateway", NOTE, f"does not run here ({sys.executable})")
