"""The built-in servers of a node, as their users see them; `servers.py` is the program.

| service | port | what it does |
|---|---|---|
| http | 80 | HTTP/1.1: `/bytes/N` N bytes of the pattern, `/echo` the request's body, |
| | | `/peer` who asks, `/` a greeting |
| echo | 7 tcp, udp | sends back what comes, half-close included |
| discard | 9 | reads to the end, says nothing |
| chargen | 19 | reads a line with a number, sends that many bytes of the pattern, closes |
| sink | 2000 | reads to the end of input, then answers `COUNT SHA256\\n` and closes |
| stall | 2001 | accepts and never reads |
| reset | 2002 | resets the connection at once |
| reset-later | 2003 | resets the connection after the first bytes have come |
| banner | 2004 | sends `220 ready\\r\\n` first, then echoes |
| farewell | 2005 | sends `bye\\n` and closes its half first, then reads to the end |
| stun | 3478 udp | answers with the sender as the server sees it: `ADDRESS PORT`; the datagram |
| | | `from ADDRESS PORT` has the answer come from that address and port of the node instead |

All listen on every address of the node, both families. A UDP answer comes from the address the
datagram was sent to. The pattern is the same bytes for everyone: see `pattern`.
"""

from __future__ import annotations

import hashlib
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from mihomo_tproxy.rig.node import Node
    from mihomo_tproxy.rig.process import Process

PORTS = {
    "http": 80,
    "echo": 7,
    "discard": 9,
    "chargen": 19,
    "sink": 2000,
    "stall": 2001,
    "reset": 2002,
    "reset-later": 2003,
    "banner": 2004,
    "farewell": 2005,
    "stun": 3478,
}

BANNER = b"220 ready\r\n"
FAREWELL = b"bye\n"

# An odd length, so that a piece which is lost or repeated at a power of two shows in the digest.
_BLOCK_BYTES = 65_536 - 15


def _block() -> bytes:
    rows = (hashlib.sha256(number.to_bytes(4, "big")).digest() for number in range(2048))
    return b"".join(rows)[:_BLOCK_BYTES]


BLOCK = _block()
"""What the pattern repeats; it does not compress and no part of it recurs within."""


def pattern(count: int) -> bytes:
    """The first `count` bytes of the pattern."""
    return (BLOCK * (count // len(BLOCK) + 1))[:count]


def pattern_sha256(count: int) -> str:
    """SHA-256 of `pattern(count)`, without building it."""
    digest = hashlib.sha256()
    for _ in range(count // len(BLOCK)):
        digest.update(BLOCK)
    digest.update(BLOCK[: count % len(BLOCK)])
    return digest.hexdigest()


class Servers:
    """The program with all built-in servers, running in a node."""

    def __init__(self, node: Node, package_root: Path) -> None:
        self.node = node
        self.process: Process = node.start(
            [sys.executable, "-m", "mihomo_tproxy.rig.servers"],
            env={**os.environ, "PYTHONPATH": str(package_root)},
        )
        self.process.wait_for_line("^ready")

    def port(self, service: str) -> int:
        """The port of a service."""
        return PORTS[service]

    def url(self, path: str = "/", *, address: str | None = None) -> str:
        """An http URL of this node, or of another of its addresses."""
        host = address or self.node.address(4)
        return f"http://[{host}]{path}" if ":" in host else f"http://{host}{path}"
