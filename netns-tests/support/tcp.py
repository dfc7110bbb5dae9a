"""Long-lived TCP flows from a node, whole transfers with a digest, and refusals."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from typing import TYPE_CHECKING

from mihomo_tproxy.rig import serving

if TYPE_CHECKING:
    from types import TracebackType

    from mihomo_tproxy.rig import Node

ECHO, CHARGEN, SINK = (serving.PORTS[name] for name in ("echo", "chargen", "sink"))


def says(sock: socket.socket, payload: bytes = b"ping") -> bool:
    """Whether a TCP echo connection echoes."""
    sock.sendall(payload)
    answer = b""
    while len(answer) < len(payload):
        chunk = sock.recv(len(payload) - len(answer))
        if not chunk:
            return False
        answer += chunk
    return answer == payload


def breaks(sock: socket.socket) -> bool:
    """Whether an echo connection ends, by FIN or RST, within a second."""
    try:
        for _ in range(20):
            if not says(sock):
                return True
            time.sleep(0.05)
    except ConnectionError:
        return True
    return False


def connects(node: Node, address: str, port: int = ECHO) -> bool:
    """Whether a new TCP flow reaches the echo server; False when it is reset or refused."""
    try:
        with node.connect(address, port) as sock:
            return says(sock)
    except (ConnectionResetError, ConnectionRefusedError, BrokenPipeError):
        return False


def times_out(node: Node, address: str, port: int = ECHO) -> bool:
    """Whether a new TCP flow gets no answer to its SYN for half a second."""
    try:
        node.connect(address, port, timeout=0.5).close()
    except TimeoutError:
        return True
    except ConnectionError:
        return False
    return False


class Download:
    """Bytes of the pattern read in a thread, slowly enough to last: `finish` says if all came."""

    def __init__(self, node: Node, address: str, count: int, pause_s: float) -> None:
        self._sock = node.connect(address, CHARGEN, timeout=20)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        self._sock.sendall(f"{count}\n".encode())
        self._count = count
        self._digest = hashlib.sha256()
        self.received = 0
        self._hurry = threading.Event()
        self._pause_s = pause_s
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            while data := self._sock.recv(65_536):
                self.received += len(data)
                self._digest.update(data)
                self._hurry.wait(self._pause_s)
        except OSError as error:
            self._error = error

    def finish(self) -> bool:
        """Read the rest at full speed; whether every byte was right."""
        self._hurry.set()
        self._thread.join(20)
        if self._error:
            raise self._error
        return self._digest.hexdigest() == serving.pattern_sha256(self._count)

    def __enter__(self) -> Download:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hurry.set()
        self._thread.join(20)
        self._sock.close()
