"""The BPF links that must vanish with the process that holds them: sk_lookup, and the cgroup's.

A link is a descriptor; when the last copy is closed, the kernel detaches the program.
"""

from __future__ import annotations

import os
from typing import Final

from mihomo_tproxy.dataplane.bpf import ATTACH_SK_LOOKUP, link_create
from mihomo_tproxy.dataplane.instance import OWN_NETNS
from mihomo_tproxy.dataplane.pins import open_program
from mihomo_tproxy.errors import DataplaneError

CGROUP_ATTACH: Final = {
    "local_connect4": 10,
    "local_connect6": 11,
    "local_sendmsg4": 14,
    "local_sendmsg6": 15,
}


def attach_lookup(pins: str) -> int:
    """The link of the program that finds listeners, in this network namespace.

    Raises:
        DataplaneError: the kernel refused.
    """
    with open(OWN_NETNS, encoding="ascii") as netns:
        program = open_program(pins, "pick_listener")
        try:
            return link_create(program, netns.fileno(), ATTACH_SK_LOOKUP)
        except OSError as error:
            raise DataplaneError(
                f"cannot attach sk_lookup: {error.strerror} (Linux 5.9 or newer is needed)"
            ) from error
        finally:
            os.close(program)


def attach_local(pins: str) -> list[int]:
    """The links of the programs that mark the gateway's own traffic.

    Raises:
        DataplaneError: there is no cgroup v2, or the kernel refused.
    """
    links: list[int] = []
    root = cgroup_root()
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name, attach_type in CGROUP_ATTACH.items():
            program = open_program(pins, name)
            links.append(link_create(program, fd, attach_type))
            os.close(program)
    except OSError as error:
        raise DataplaneError(f"gateway.local: cannot attach to {root}: {error.strerror}") from error
    finally:
        os.close(fd)
    return links


def cgroup_root() -> str:
    """Where the cgroup v2 hierarchy is mounted.

    Raises:
        DataplaneError: it is not.
    """
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        for line in mounts:
            _, place, kind, *_ = line.split()
            if kind == "cgroup2":
                return place
    raise DataplaneError("gateway.local needs cgroup v2, which is not mounted")


def check_privileges() -> None:
    """Steering needs root.

    Raises:
        DataplaneError: this is not root.
    """
    if os.geteuid() != 0:
        raise DataplaneError("root is needed to steer packets: run it with sudo")
