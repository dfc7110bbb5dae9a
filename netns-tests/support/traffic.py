"""Traffic for tests: both ends of a connection in the test's hands, and many at once."""

from __future__ import annotations

import errno
import hashlib
import select
import socket
import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mihomo_tproxy.rig.serving import BLOCK, pattern_sha256

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mihomo_tproxy.rig import Node, Rig

TIMEOUT_S = 10.0
PORT = 5000
LINGER_ZERO = b"\1\0\0\0\0\0\0\0"


def family_of(address: str) -> socket.AddressFamily:
    """AF_INET or AF_INET6."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def read_all(sock: socket.socket) -> bytes:
    """Everything up to the end of the stream."""
    data = bytearray()
    while chunk := sock.recv(65_536):
        data += chunk
    return bytes(data)


def read_exactly(sock: socket.socket, count: int) -> bytes:
    """So many bytes, or fewer when the stream ends before."""
    data = bytearray()
    while len(data) < count and (chunk := sock.recv(count - len(data))):
        data += chunk
    return bytes(data)


def talk(node: Node, address: str, port: int, data: bytes = b"", *, source_port: int = 0) -> bytes:
    """Sends `data`, ends the sending side, and returns all that comes back."""
    with connect(node, address, port, source_port=source_port) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        return read_all(sock)


def connect(
    node: Node, address: str, port: int, *, source_port: int = 0, timeout: float = TIMEOUT_S
) -> socket.socket:
    """A connection from a node, from a port of choice if given."""
    sock = node.socket(family_of(address))
    try:
        sock.settimeout(timeout)
        if source_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("", source_port))
        sock.connect((address, port))
    except BaseException:
        sock.close()
        raise
    return sock


def listen(node: Node, address: str, port: int = PORT, backlog: int = 128) -> socket.socket:
    """A listener on one address of a node."""
    sock = node.socket(family_of(address))
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.settimeout(TIMEOUT_S)
        sock.bind((address, port))
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


@contextmanager
def pair(
    rig: Rig, version: int, *, number: int = 9, buffer: int = 0
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client's and a server's end of one connection through the gateway.

    `buffer` limits what the kernel keeps for the server's and the client's end, in bytes.
    """
    address = rig.destination(number, version)
    with listen(rig.internet, address) as listener:
        if buffer:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        with connect(rig.clients[0], address, PORT) as client:
            server, _ = listener.accept()
            with server:
                server.settimeout(TIMEOUT_S)
                yield client, server


def reset(sock: socket.socket) -> None:
    """Closes with RST instead of FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    sock.close()


def wait_reset(sock: socket.socket) -> None:
    """Returns when the connection was reset; fails when it ends in order."""
    try:
        data = read_all(sock)
    except ConnectionResetError:
        return
    raise AssertionError(f"an orderly end after {len(data)} bytes, where a reset was due")


def assert_resets(node: Node, address: str, port: int, *, timeout: float = TIMEOUT_S) -> None:
    """A connection is accepted and reset, which may be so soon that connect(2) tells."""
    try:
        sock = connect(node, address, port, timeout=timeout)
    except ConnectionResetError:
        return
    with sock:
        wait_reset(sock)


def send_pattern(sock: socket.socket, count: int) -> None:
    """Sends the pattern of `serving.pattern` and ends the sending side."""
    left = count
    while left > 0:
        sock.sendall(BLOCK[:left])
        left -= len(BLOCK)
    sock.shutdown(socket.SHUT_WR)


def digest_of(sock: socket.socket) -> tuple[int, str]:
    """How much comes until the end, and its SHA-256."""
    digest, count = hashlib.sha256(), 0
    buffer = bytearray(1 << 18)
    view = memoryview(buffer)
    while got := sock.recv_into(buffer):
        digest.update(view[:got])
        count += got
    return count, digest.hexdigest()


def exchange(client: socket.socket, server: socket.socket, count: int) -> None:
    """Sends the pattern both ways at once and compares what arrives, to the last byte."""
    outcome: dict[str, tuple[int, str]] = {}

    def receive(name: str, sock: socket.socket) -> None:
        outcome[name] = digest_of(sock)

    threads = [
        threading.Thread(target=send_pattern, args=(client, count)),
        threading.Thread(target=send_pattern, args=(server, count)),
        threading.Thread(target=receive, args=("server", server)),
        threading.Thread(target=receive, args=("client", client)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = (count, pattern_sha256(count))
    assert outcome == {"server": expected, "client": expected}


def fill(socks: Sequence[socket.socket], most: int, quiet_s: float = 0.5) -> list[int]:
    """Sends on all of them until none has taken anything for `quiet_s` seconds, or `most` bytes.

    How many bytes each has taken. The sockets do not block any more.
    """
    block = bytes(65_536)
    sent = dict.fromkeys(socks, 0)
    poll = select.epoll()
    by_number = {sock.fileno(): sock for sock in socks}
    for sock in socks:
        sock.setblocking(False)
        poll.register(sock, select.EPOLLOUT)
    while events := poll.poll(quiet_s):
        for number, _ in events:
            sock = by_number[number]
            sent[sock] += sock.send(block)
            if sent[sock] >= most:
                poll.unregister(sock)
    poll.close()
    return list(sent.values())


class _Call:
    """One connection of `many`."""

    __slots__ = ("answer", "connected", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.answer = bytearray()
        self.connected = False


def many(
    node: Node, address: str, port: int, request: bytes, expected: bytes, total: int, at_once: int
) -> Counter[str]:
    """Connects, asks, reads to the end and closes, `total` times, `at_once` at a time.

    The outcomes by kind: `ok`, the name of an errno, `wrong` or `stuck`. Source ports are the
    kernel's choice.
    """
    outcomes: Counter[str] = Counter()
    poll = select.epoll()
    calls: dict[int, _Call] = {}
    started = 0

    def end(call: _Call, outcome: str) -> None:
        outcomes[outcome] += 1
        del calls[call.sock.fileno()]
        call.sock.close()

    with node.enter():
        while started < total or calls:
            while started < total and len(calls) < at_once:
                call = _Call(socket.socket(family_of(address)))
                call.sock.setblocking(False)
                started += 1
                calls[call.sock.fileno()] = call
                code = call.sock.connect_ex((address, port))
                if code not in (0, errno.EINPROGRESS):
                    end(call, errno.errorcode[code])
                    continue
                poll.register(call.sock, select.EPOLLOUT)
            events = poll.poll(TIMEOUT_S)
            if not events:
                for call in list(calls.values()):
                    end(call, "stuck")
            for fd, _ in events:
                outcome = _step(calls[fd], poll, request, expected)
                if outcome:
                    end(calls[fd], outcome)
    poll.close()
    return outcomes


def _step(call: _Call, poll: select.epoll, request: bytes, expected: bytes) -> str:
    """Goes on with a connection that is ready; its outcome, or "" while it goes on."""
    try:
        if not call.connected:
            code = call.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                return errno.errorcode[code]
            call.connected = True
            call.sock.send(request)
            poll.modify(call.sock, select.EPOLLIN)
            return ""
        data = call.sock.recv(65_536)
    except BlockingIOError:
        return ""
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    if data:
        call.answer += data
        return ""
    return "ok" if bytes(call.answer) == expected else "wrong"
