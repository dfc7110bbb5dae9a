"""An 802.1Q interface in user space, for kernels that were built without VLAN_8021Q.

    python -m mihomo_tproxy.rig.vlan NETNS PARENT NAME ID

NAME is a TAP device. What is sent by it leaves PARENT with tag ID; what comes in by PARENT with tag
ID comes in by NAME without it. It prints `ready` and runs until it is killed.

    frame     DST 6 | SRC 6 | 0x8100 2 | priority 3 bits, DEI 1, ID 12 | type and payload

The kernel takes the tag off before a packet socket sees the frame, and reports it beside it
(PACKET_AUXDATA, packet(7)). A mark set on PARENT does not survive the way through here, as it
would through a kernel's VLAN device: whoever steers by marks steers on NAME.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
import time

from mihomo_tproxy.rig import host

READ_BATCH = 64
MAX_FRAME = 65_536

_SOL_PACKET, _PACKET_AUXDATA, _PACKET_IGNORE_OUTGOING = 263, 8, 23
_ETH_P_ALL, _ETH_P_8021Q = 3, 0x8100
_STATUS_VLAN_VALID = 1 << 4
_ID_MASK = 0x0FFF
_AUXDATA = struct.Struct("=IIIHHHH")


def add_tag(frame: bytes, vlan_id: int) -> bytes:
    """The frame with a tag after its addresses."""
    return frame[:12] + struct.pack("!HH", _ETH_P_8021Q, vlan_id) + frame[12:]


def tag_of(auxdata: bytes) -> int | None:
    """The id of the tag the kernel took off a frame, None when it had none."""
    status, _, _, _, _, tci, _ = _AUXDATA.unpack_from(auxdata)
    return tci & _ID_MASK if status & _STATUS_VLAN_VALID else None


def open_parent(netns: str, parent: str) -> socket.socket:
    """A packet socket that sees every frame coming in by `parent`, with its tag beside it."""
    with host.inside(netns):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
    sock.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * 1024 * 1024)
    sock.setblocking(False)
    sock.bind((parent, _ETH_P_ALL))
    return sock


def untag(sock: socket.socket, tap: int, vlan_id: int) -> None:
    """Moves a batch of frames with our tag from the parent to the TAP device."""
    for _ in range(READ_BATCH):
        try:
            frame, control, _, _ = sock.recvmsg(MAX_FRAME, 64)
        except BlockingIOError:
            return
        except OSError:
            # The parent is down.
            time.sleep(0.001)
            return
        for level, kind, data in control:
            if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA) and tag_of(data) == vlan_id:
                _write(tap, frame)


def tag(tap: int, sock: socket.socket, vlan_id: int) -> None:
    """Moves a batch of frames from the TAP device to the parent, tagged."""
    for _ in range(READ_BATCH):
        try:
            frame = os.read(tap, MAX_FRAME)
        except BlockingIOError:
            return
        except OSError:
            time.sleep(0.001)
            return
        _write(sock.fileno(), add_tag(frame, vlan_id))


def _write(descriptor: int, frame: bytes) -> None:
    """Writes a frame; a device that is down or full loses it, as a wire does."""
    try:
        os.write(descriptor, frame)
    except OSError:
        pass


def main(arguments: list[str]) -> int:
    """Creates the TAP device and moves frames."""
    netns, parent, name, vlan_id = *arguments[:3], int(arguments[3])
    tap = host.open_tun(netns, name, ethernet=True)
    sock = open_parent(netns, parent)
    os.write(1, b"ready\n")
    while True:
        ready = select.select((tap, sock.fileno()), (), ())[0]
        if sock.fileno() in ready:
            untag(sock, tap, vlan_id)
        if tap in ready:
            tag(tap, sock, vlan_id)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
