"""The clients' side of the demonstration: real sockets in a client's namespace.

A flow that is refused or ignored is an outcome, not an error; only a rig that cannot open sockets
raises.
"""

from __future__ import annotations

import statistics
import time
from socket import AF_INET, AF_INET6, SOCK_DGRAM
from typing import TYPE_CHECKING, Final, NamedTuple

from mihomo_tproxy.demo.scenario import ECHO_BYTES, ECHOES, Answer

if TYPE_CHECKING:
    from socket import socket

    from mihomo_tproxy.rig import Node

READ_BYTES: Final = 1 << 20


class Outcome(NamedTuple):
    """What the client saw of one flow."""

    answer: Answer
    received: int
    """Bytes of the answer."""
    seconds: float
    """From the first byte of the answer to the last; 0 when there is no rate to tell."""
    latency_s: float | None
    """TCP: from connect to the first byte, or to the RST. UDP: the median round trip, or until the
    ICMP message. None: nothing came."""


def fetch(node: Node, address: str, port: int, size: int, timeout_s: float) -> Outcome:
    """An HTTP download of `size` bytes; `timeout_s` bounds each step."""
    began = time.perf_counter()
    try:
        with node.connect(address, port, timeout=timeout_s) as sock:
            request = f"GET /bytes/{size} HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n"
            sock.sendall(request.encode())
            return _read_body(sock, size, began)
    except TimeoutError:
        return Outcome(Answer.SILENCE, 0, 0.0, None)
    except (ConnectionError, OSError):
        return Outcome(Answer.RESET, 0, 0.0, time.perf_counter() - began)


def _read_body(sock: socket, size: int, began: float) -> Outcome:
    buffer = bytearray(READ_BYTES)
    first = sock.recv_into(buffer)
    first_at = time.perf_counter()
    received = first - (buffer.find(b"\r\n\r\n", 0, first) + 4)
    while count := sock.recv_into(buffer):
        received += count
    answer = Answer.DATA if first and received == size else Answer.SHORT
    return Outcome(answer, max(received, 0), time.perf_counter() - first_at, first_at - began)


def echo(node: Node, address: str, port: int, timeout_s: float) -> Outcome:
    """Datagrams from one port, each sent when the one before has come back."""
    payload = bytes(ECHO_BYTES)
    trips: list[float] = []
    with node.socket(AF_INET6 if ":" in address else AF_INET, SOCK_DGRAM) as sock:
        sock.settimeout(timeout_s)
        sock.connect((address, port))
        began = time.perf_counter()
        try:
            for _ in range(ECHOES):
                sent_at = time.perf_counter()
                sock.send(payload)
                sock.recv(ECHO_BYTES)
                trips.append(time.perf_counter() - sent_at)
        except TimeoutError:
            answer = Answer.SHORT if trips else Answer.SILENCE
            return Outcome(answer, len(trips) * ECHO_BYTES, 0.0, None)
        except ConnectionRefusedError:
            return Outcome(Answer.UNREACHABLE, 0, 0.0, time.perf_counter() - began)
    return Outcome(Answer.DATA, len(trips) * ECHO_BYTES, 0.0, statistics.median(trips))
