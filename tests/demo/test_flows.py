"""The clients' side, on loopback: what they saw becomes an outcome."""

from __future__ import annotations

import socket
import struct
import threading

import pytest

from mihomo_tproxy.demo.flows import echo, fetch
from mihomo_tproxy.demo.scenario import ECHO_BYTES, ECHOES, Answer


class Here:
    """A node that is this process's own namespace."""

    def socket(self, family, kind):
        return socket.socket(family, kind)

    def connect(self, address, port, *, timeout):
        return socket.create_connection((address, port), timeout)


@pytest.fixture
def serve():
    """Runs `handle(connection)` for one client; the port."""
    ends = []

    def start(handle):
        listener = socket.create_server(("127.0.0.1", 0))

        def work():
            connection, _ = listener.accept()
            with connection:
                handle(connection)

        thread = threading.Thread(target=work)
        thread.start()
        ends.append((thread, listener))
        return listener.getsockname()[1]

    yield start
    for thread, listener in ends:
        thread.join()
        listener.close()


def answer(body):
    def handle(connection):
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + body)

    return handle


def reset(connection):
    connection.recv(4096)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize(
    ("handle", "seen", "received"),
    [
        (answer(bytes(3_000_000)), Answer.DATA, 3_000_000),
        (answer(bytes(10)), Answer.SHORT, 10),
        (lambda connection: connection.recv(4096), Answer.SHORT, 0),
        (reset, Answer.RESET, 0),
    ],
)
def test_downloads(serve, handle, seen, received):
    outcome = fetch(Here(), "127.0.0.1", serve(handle), 3_000_000, 10)
    assert (outcome.answer, outcome.received) == (seen, received)


def test_a_server_that_says_nothing_is_silence(serve):
    ended = threading.Event()
    port = serve(lambda _connection: ended.wait(10))
    assert fetch(Here(), "127.0.0.1", port, 10, 0.05) == (Answer.SILENCE, 0, 0.0, None)
    ended.set()


@pytest.fixture
def datagrams():
    """A bound UDP socket of the server's side."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(10)
        yield sock


def send_back(sock, count):
    for _ in range(count):
        data, peer = sock.recvfrom(4096)
        sock.sendto(data, peer)


@pytest.mark.parametrize(
    ("count", "timeout", "seen"),
    [(ECHOES, 10, Answer.DATA), (3, 1, Answer.SHORT), (0, 0.05, Answer.SILENCE)],
)
def test_echoes(datagrams, count, timeout, seen):
    thread = threading.Thread(target=send_back, args=(datagrams, count))
    thread.start()
    outcome = echo(Here(), "127.0.0.1", datagrams.getsockname()[1], timeout)
    thread.join()
    assert (outcome.answer, outcome.received) == (seen, count * ECHO_BYTES)
    assert (outcome.latency_s is None) is (seen is not Answer.DATA)


def test_an_icmp_message_is_an_answer(datagrams):
    port = datagrams.getsockname()[1]
    datagrams.close()
    assert echo(Here(), "127.0.0.1", port, 10).answer is Answer.UNREACHABLE
