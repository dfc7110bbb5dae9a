"""The checks of the table, each through one proxy, from source ports that lead to it.

A check is a function of the rig, an iterator of source ports and the row; it returns, or it fails
with what was wrong. Waits end after support.traffic's and support.udp's timeouts.
"""

from __future__ import annotations

import hashlib
import threading
from contextlib import suppress
from socket import SHUT_WR
from typing import TYPE_CHECKING, Final

from support.traffic import connect, digest_of, read_all, read_exactly
from support.udp import ANSWER_S, ask, echoes, mapped, open_socket, receive

from mihomo_tproxy.rig.serving import BLOCK, PORTS, pattern, pattern_sha256

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from support.interop.rows import Row

    from mihomo_tproxy.rig import Rig

    Check = Callable[[Rig, Iterator[int], Row], None]

TIMEOUT_S: Final = 15.0
MB: Final = 1_000_000
SIZES: Final = (1, 512, 1200, 1400)
"""Of datagrams, in bytes."""
LOST_S: Final = 1.0
REMOTES: Final = 100
CONE_REMOTES: Final = 10


def _open(rig: Rig, ports: Iterator[int], service: str, number: int = 1) -> socket.socket:
    address = rig.destination(number)
    return connect(
        rig.clients[0], address, PORTS[service], source_port=next(ports), timeout=TIMEOUT_S
    )


def _send(sock: socket.socket, count: int) -> None:
    """Sends the pattern; what fails shows in what comes back."""
    with suppress(OSError):
        _send_all(sock, count)


def _send_all(sock: socket.socket, count: int) -> None:
    left = count
    while left > 0:
        sock.sendall(BLOCK[:left])
        left -= len(BLOCK)


def _echo(rig: Rig, ports: Iterator[int], count: int) -> None:
    """So many bytes both ways at once, every one of them right."""
    with _open(rig, ports, "echo") as sock:
        sender = threading.Thread(target=_send, args=(sock, count), daemon=True)
        sender.start()
        digest, left = hashlib.sha256(), count
        buffer = memoryview(bytearray(1 << 18))
        while left and (got := sock.recv_into(buffer, min(left, len(buffer)))):
            digest.update(buffer[:got])
            left -= got
        sender.join(TIMEOUT_S)
    assert left == 0, f"the end came {left} bytes early"
    assert digest.hexdigest() == pattern_sha256(count)


def _generate(rig: Rig, ports: Iterator[int], count: int) -> None:
    """So many bytes from the server, then its end."""
    with _open(rig, ports, "chargen") as sock:
        sock.sendall(f"{count}\n".encode())
        assert digest_of(sock) == (count, pattern_sha256(count))


def one_byte(rig: Rig, ports: Iterator[int], _row: Row) -> None:
    """One byte to and fro; a server that ends without a word; one that speaks first."""
    _echo(rig, ports, 1)
    _generate(rig, ports, 0)
    with _open(rig, ports, "banner") as sock:
        assert read_exactly(sock, 11) == b"220 ready\r\n"
        sock.sendall(b"?")
        assert read_exactly(sock, 1) == b"?"


def megabyte(rig: Rig, ports: Iterator[int], _row: Row) -> None:
    """1 MB both ways at once, and 1 MB that ends with the server's end."""
    _echo(rig, ports, MB)
    _generate(rig, ports, MB)


def hundred_megabytes(rig: Rig, ports: Iterator[int], row: Row) -> None:
    """100 MB both ways at once, or from the server where that is too much for it."""
    (_echo if row.duplex else _generate)(rig, ports, 100 * MB)


def half_close(rig: Rig, ports: Iterator[int], _row: Row) -> None:
    """The client ends its side; the server, who waits for that, still answers."""
    for count in (1000, MB, 0):
        with _open(rig, ports, "sink") as sock:
            _send_all(sock, count)
            sock.shutdown(SHUT_WR)
            said = read_all(sock).decode()
            assert said == f"{count} {pattern_sha256(count)}\n", f"{said!r} after {count} bytes"


def datagrams(rig: Rig, ports: Iterator[int], row: Row) -> None:
    """Datagrams that fit into one packet; a server known to lose some gets another chance."""
    for _ in range(row.tries - 1):
        try:
            return _small_datagrams(rig, ports, LOST_S)
        except TimeoutError:
            continue
    return _small_datagrams(rig, ports, ANSWER_S)


def _small_datagrams(rig: Rig, ports: Iterator[int], timeout: float) -> None:
    with open_socket(rig.clients[0], 4, port=next(ports)) as sock:
        sock.settimeout(timeout)
        for size in SIZES:
            assert echoes(sock, rig.destination(1), pattern(size))


def large_datagram(rig: Rig, ports: Iterator[int], _row: Row) -> None:
    """8 kB, which comes in fragments."""
    with open_socket(rig.clients[0], 4, port=next(ports)) as sock:
        assert echoes(sock, rig.destination(1), pattern(8000))


def remotes(rig: Rig, ports: Iterator[int], _row: Row) -> None:
    """Many remotes from one client port; each answer comes from who was asked."""
    with open_socket(rig.clients[0], 4, port=next(ports)) as sock:
        for number in range(1, REMOTES + 1):
            assert echoes(sock, rig.destination(number), b"%d" % number), f"remote {number}"


def full_cone(rig: Rig, ports: Iterator[int], _row: Row) -> None:
    """All remotes see one port; an answer may come from somebody who was never asked."""
    with open_socket(rig.clients[0], 4, port=next(ports)) as sock:
        seen = {mapped(sock, rig.destination(n))[1] for n in range(1, CONE_REMOTES + 1)}
        assert len(seen) == 1
        stranger = rig.destination(200)
        sock.sendto(f"from {stranger} 4444".encode(), (rig.destination(1), PORTS["stun"]))
        data, sender = receive(sock)
        assert sender == (stranger, 4444)
        assert data.decode().split()[1] == str(seen.pop())
        assert ask(sock, rig.destination(2), PORTS["echo"], b"still") == b"still"


CHECKS: Final[dict[str, Check]] = {
    "1 B": one_byte,
    "1 MB": megabyte,
    "100 MB": hundred_megabytes,
    "close": half_close,
    "udp": datagrams,
    "8 kB": large_datagram,
    "remotes": remotes,
    "cone": full_cone,
}
