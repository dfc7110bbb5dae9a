"""The gateway's control socket: one request and one answer, a line of JSON each, for root alone.

    {"command": "select", "group": "Proxy", "member": "Tokyo"}
    {"ok": true, ...}  or  {"error": "a sentence"}

It is a Unix socket beside the state file of the instance. The supervisor answers between its other
work; a client that does not write its line, or read its answer, is dropped after a moment.
"""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from typing import Any, Final

from mihomo_tproxy.errors import GatewayError

LINE_LIMIT: Final = 65536
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
        client.settimeout(PATIENCE_S)
        try:
            request = json.loads(_read_line(client))
        except (OSError, ValueError) as error:
            answer(client, {"error": f"not a request: {error}"})
            return None
        if not isinstance(request, dict):
            answer(client, {"error": "not a request"})
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
        client.sendall(json.dumps(result).encode() + b"\n")


def ask(path: str, request: dict[str, Any]) -> dict[str, Any]:
    """A client's side: the answer to a request.

    Raises:
        GatewayError: nobody listens, or the answer is an error.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(ANSWER_S)
        try:
            sock.connect(path)
            sock.sendall(json.dumps(request).encode() + b"\n")
            result = json.loads(_read_line(sock))
        except (FileNotFoundError, ConnectionRefusedError):
            raise GatewayError("no gateway runs in this network namespace") from None
        except (OSError, ValueError) as error:
            raise GatewayError(f"the gateway does not answer: {error}") from None
    if not isinstance(result, dict):
        raise GatewayError("the gateway does not answer in its words")
    if "error" in result:
        raise GatewayError(str(result["error"]))
    return result


def _read_line(sock: socket.socket) -> bytes:
    data = bytearray()
    while not data.endswith(b"\n"):
        chunk = sock.recv(65536)
        if not chunk:
            break
        data += chunk
        if len(data) > LINE_LIMIT * 64:
            raise ValueError("the line is too long")
    return bytes(data)
