"""Datagrams from a node of the rig, and what comes back."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mihomo_tproxy.rig import Node

ANSWER_S = 5.0
SILENCE_S = 0.3
"""How long nothing must come for a test to call it silence."""
ECHO, STUN = 7, 3478
VERSIONS = (4, 6)


def open_socket(node: Node, version: int, *, local: str = "", port: int = 0) -> socket.socket:
    """A datagram socket of a node, bound if `local` or `port` is given; sockets share a `port`."""
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    sock = node.socket(family, socket.SOCK_DGRAM)
    sock.settimeout(ANSWER_S)
    if port:  # without one, those that may share would now and then be given the same
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if local or port:
        sock.bind((local or ("::" if version == 6 else "0.0.0.0"), port))
    return sock


def receive(sock: socket.socket) -> tuple[bytes, tuple[str, int]]:
    """The next datagram and the (address, port) it came from."""
    data, sender = sock.recvfrom(65_536)
    return data, sender[:2]


def ask(sock: socket.socket, address: str, port: int, payload: bytes) -> bytes:
    """The answer to a datagram, which must come from where the question went."""
    sock.sendto(payload, (address, port))
    answer, sender = receive(sock)
    assert sender == (address, port)
    return answer


def echoes(sock: socket.socket, address: str, payload: bytes = b"ping", port: int = ECHO) -> bool:
    """Whether the built-in echo server answers."""
    return ask(sock, address, port, payload) == payload


def mapped(sock: socket.socket, address: str) -> tuple[str, int]:
    """The sender as the built-in STUN-like server at `address` sees it."""
    host, port = ask(sock, address, STUN, b"who").decode().split()
    return host, int(port)


def is_silent(sock: socket.socket) -> bool:
    """Whether nothing comes for a while."""
    sock.settimeout(SILENCE_S)
    try:
        sock.recv(65_536)
    except TimeoutError:
        return True
    finally:
        sock.settimeout(ANSWER_S)
    return False
