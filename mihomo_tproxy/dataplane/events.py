"""A netlink socket that becomes readable when interfaces, addresses, routes or rules change.

rtnetlink(7), spoken just far enough to be told that something happened: what happened is found by
looking again (`netlink.observe`), so lost messages do no harm and nothing is parsed.
"""

from __future__ import annotations

import socket
from typing import Final

NETLINK_ROUTE: Final = 0
GROUPS: Final = (
    1  # RTMGRP_LINK
    | 0x10  # RTMGRP_IPV4_IFADDR
    | 0x40  # RTMGRP_IPV4_ROUTE
    | 0x100  # RTMGRP_IPV6_IFADDR
    | 0x400  # RTMGRP_IPV6_ROUTE
)
RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_DELADDR, RTM_NEWROUTE, RTM_DELROUTE = (
    16,
    17,
    20,
    21,
    24,
    25,
)


class ChangeMonitor:
    """Tells that the network changed. Readable through `fileno`."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC,
            NETLINK_ROUTE,
        )  # fmt: skip
        self._socket.bind((0, GROUPS))

    def fileno(self) -> int:
        """For select and poll."""
        return self._socket.fileno()

    def drain(self) -> bool:
        """Read what there is; whether anything was."""
        changed = False
        while True:
            try:
                changed = bool(self._socket.recv(65536)) or changed
            except BlockingIOError:
                return changed
            except OSError:
                # ENOBUFS: messages were lost, which is news enough.
                changed = True

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()
