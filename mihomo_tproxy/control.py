"""The gateway's control socket: one request and one answer, a line of JSON each, for root alone.

    {"command": "select", "group": "Proxy", "member": "Tokyo"}
    {"ok": true, ...}  or  {"error": "a sentence"}

It is a Unix socket beside the state file of the instance, of mode 0600. The supervisor answers
between its other work. Invariants: a client holds it up for `PATIENCE_S` with its request and as
long with its answer, in whatever pieces; nothing a client sends is an exception here.
"""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from typing import Any, Final

from mihomo_tproxy.errors import GatewayError

REQUEST_LIMIT: Final = 1 << 16
"""Bytes of a request."""
ANSWER_LIMIT: Final = 1 << 26
"""Bytes of an answer: every proxy of every group is named in one."""
PATIENCE_S: Final = 1.0
"""How long the supervisor waits for a client."""
ANSWER_S: Final = 60.0
"""How long a client waits for the supervisor."""


class ControlServer:
    """The listening socket."""

    def __init__(self, path: str) -> None:
        """Listen; a socket that a dead instance left is replaced (the caller holds the lock)."""
        self._path = path
        with suppress(FileNotFoundError):
            os.unlink(path)
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        try:
            self._sock.bind(path)
        finally:
            os.umask(mask)
        self._sock.listen(16)
        self._sock.setblocking(False)

    def fileno(self) -> int:
        """Readable when a client comes."""
        return self._sock.fileno()

    def accept(self) -> tuple[socket.socket, dict[str, Any]] | None:
        """A client with its request; None when there is none that can be understood."""
        try:
            client, _ = self._sock.accept()
        except OSError:
            return None
        try:
            request = json.loads(_read_line(client, REQUEST_LIMIT, PATIENCE_S))
        except (OSError, ValueError, RecursionError) as error:
            answer(client, {"error": f"not a request: {error}"})
            return None
        if not isinstance(request, dict):
            answer(client, {"error": "not a request: expected an object"})
            return None
        return client, request

    def abandon(self) -> None:
        """In a forked child: it is not ours."""
        self._sock.close()

    def close(self) -> None:
        """Stop listening, and remove the socket."""
        self._sock.close()
        with suppress(FileNotFoundError):
            os.unlink(self._path)


def answer(client: socket.socket, result: dict[str, Any]) -> None:
    """Write an answer and part."""
    with client, suppress(OSError):
        client.settimeout(PATIENCE_S)  # of sendall as a whole
        client.sendall(json.dumps(result).encode() + b"\n")


def ask(path: str, request: dict[str, Any]) -> dict[str, Any]:
    """A client's side: the answer to a request.

    Raises:
        GatewayError: nobody listens, this is not root, or the answer is an error.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(ANSWER_S)
        try:
            sock.connect(path)
            sock.sendall(json.dumps(request).encode() + b"\n")
            result = json.loads(_read_line(sock, ANSWER_LIMIT, ANSWER_S))
        except (FileNotFoundError, ConnectionRefusedError):
            raise GatewayError("no gateway runs in this network namespace") from None
        except PermissionError:
            raise GatewayError("root is needed to talk to the gateway: use sudo") from None
        except (OSError, ValueError, RecursionError) as error:
            raise GatewayError(f"the gateway does not answer: {error}") from None
    if not isinstance(result, dict):
        raise GatewayError("the gateway does not answer in its words")
    if "error" in result:
        raise GatewayError(str(result["error"]))
    return result


def _read_line(sock: socket.socket, limit: int, patience_s: float) -> bytes:
    """All that comes up to the end of a line.

    Raises:
        OSError: it took too long, or the other side broke off.
        ValueError: it is longer than the limit.
    """
    deadline = time.monotonic() + patience_s
    data = bytearray()
    while not data.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        sock.settimeout(left)
        chunk = sock.recv(1 << 16)
        if not chunk:
            break
        data += chunk
        if len(data) > limit:
            raise ValueError("the line is too long")
    return bytes(data)
