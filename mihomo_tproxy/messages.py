"""What the processes say to each other: length-prefixed pickles, over a socket pair.

Each is a tuple whose first item names it; one may carry a descriptor, which comes as its last item
(-1 if it got lost on the way: the receiver had none left). The highest bit of a length says so.

Worker to supervisor: `("ready",)`, `("error", sentence)`, `("reloaded", epoch)`,
`("regrouped", epoch)`, `("refused", sentence)`, and unasked (`NEWS`) `("used", groups)` and
`("failures", group)`. Supervisor to worker: `("reload", Setup, image descriptor)` and
`("groups", GroupState, epoch)`; both are answered.
"""

from __future__ import annotations

import pickle
import socket
import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from mihomo_tproxy.model.group_state import GroupState

NEWS: Final = frozenset({"used", "failures"})
LENGTH: Final = struct.Struct("=Q")
CARRIES: Final = 1 << 63
"""Added to the length of a message that a descriptor belongs to."""


class Setup(NamedTuple):
    """What a worker decides by, besides the rules' image."""

    config: bytes
    """The pickled `Config`, without its rules."""
    epoch: int
    """Stamp of the verdicts it teaches the kernel from now on."""
    masks: tuple[int, ...]
    """Field sets in use as verdict keys."""
    state: GroupState
    """What the groups chose."""


def send_message(sock: socket.socket, message: tuple[Any, ...], descriptor: int = -1) -> None:
    """One tuple, whole, and a descriptor with it."""
    data = pickle.dumps(message)
    head = LENGTH.pack(len(data) | (CARRIES if descriptor >= 0 else 0))
    whole = memoryview(head + data)
    if descriptor >= 0:
        whole = whole[socket.send_fds(sock, [whole], [descriptor]) :]
    sock.sendall(whole)


def receive_message(sock: socket.socket) -> tuple[Any, ...] | None:
    """One tuple, whole, its descriptor (if any) appended; None at the end of the stream."""
    head, descriptors, _flags, _address = socket.recv_fds(sock, LENGTH.size, 1)
    if not head:
        return None
    rest = _receive(sock, LENGTH.size - len(head))
    if rest is None:
        return None
    length = LENGTH.unpack(head + rest)[0]
    data = _receive(sock, length & ~CARRIES)
    if data is None:
        return None
    message: tuple[Any, ...] = pickle.loads(data)  # noqa: S301 (processes of one program)
    return (*message, *(descriptors or [-1])) if length & CARRIES else message


def _receive(sock: socket.socket, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        chunk = sock.recv(min(size - len(data), 1 << 20))
        if not chunk:
            return None
        data += chunk
    return bytes(data)
