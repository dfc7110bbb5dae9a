"""Tell systemd how we are (sd_notify(3)): one datagram to $NOTIFY_SOCKET, nothing without it."""

from __future__ import annotations

import os
import socket
import time


def notify(state: str) -> None:
    """Send one state, such as READY=1; never fails."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    if state == "RELOADING=1":
        state += f"\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.sendto(state.encode(), address)
    except OSError:
        return
