"""What supervisor and worker say to each other: length-prefixed pickles, over a socket pair.

Each is a tuple. Up go `("ready",)`, `("error", sentence)` and `("reloaded", generation)`; down goes
`("reload", config, generation, masks)`.
"""

from __future__ import annotations

import pickle
import struct
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import socket

LENGTH: Final = struct.Struct("=Q")


def send_message(sock: socket.socket, message: tuple[Any, ...]) -> None:
    """One tuple, whole."""
    data = pickle.dumps(message)
    sock.sendall(LENGTH.pack(len(data)) + data)


def receive_message(sock: socket.socket) -> tuple[Any, ...] | None:
    """One tuple, whole; None at the end of the stream."""
    head = _receive(sock, LENGTH.size)
    if head is None:
        return None
    data = _receive(sock, LENGTH.unpack(head)[0])
    if data is None:
        return None
    message: tuple[Any, ...] = pickle.loads(data)  # noqa: S301 (parent and child of one program)
    return message


def _receive(sock: socket.socket, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        chunk = sock.recv(size - len(data))
        if not chunk:
            return None
        data += chunk
    return bytes(data)
