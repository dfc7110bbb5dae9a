"""Socket options do what their names say, seen from the other end where there is one."""

from __future__ import annotations

import errno
import socket

import pytest
from support.loopback import GIVE_UP_S

from mihomo_tproxy.net import sockopt


@pytest.fixture
def connection():
    listening = socket.create_server(("127.0.0.1", 0))
    near = socket.create_connection(listening.getsockname(), timeout=GIVE_UP_S)
    far, _ = listening.accept()
    far.settimeout(GIVE_UP_S)
    yield near, far
    for sock in (near, far, listening):
        sock.close()


def test_reset_on_close(connection):
    near, far = connection
    sockopt.reset_on_close(near)
    near.close()
    with pytest.raises(ConnectionResetError):
        far.recv(1)


def test_reset_on_close_of_a_dead_socket_is_harmless(connection):
    near, _far = connection
    near.close()
    sockopt.reset_on_close(near)
    assert near.fileno() == -1


def test_keepalive(connection):
    near, _far = connection
    sockopt.set_keepalive(near)
    assert near.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    idle = near.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
    assert idle == sockopt.KEEPALIVE_IDLE_S


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (errno.ECONNREFUSED, "dial-refused"),
        (errno.EHOSTUNREACH, "dial-unreachable"),
        (errno.ENETUNREACH, "dial-unreachable"),
        (errno.ETIMEDOUT, "dial-timeout"),
        (errno.EMFILE, "dial-no-descriptor"),
        (errno.EXDEV, "dial-exdev"),
        (0, "dial-error"),
        (None, "dial-error"),
    ],
)
def test_cause(code, cause):
    assert sockopt.cause_of(code, "dial") == cause


def test_open_reply_speaks_as_the_remote_to_the_client_only(monkeypatch):
    """On loopback every address is ours, so that no privilege is needed."""
    monkeypatch.setattr(sockopt, "set_transparent", lambda sock, family: None)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger,
    ):
        client.bind(("127.0.0.1", 0))
        client.settimeout(GIVE_UP_S)
        reply = sockopt.open_reply(("127.9.9.9", 4321), client.getsockname())
        second = sockopt.open_reply(("127.9.9.9", 4321), stranger.getsockname())
        reply.send(b"answer")
        assert client.recvfrom(64) == (b"answer", ("127.9.9.9", 4321))
        client.sendto(b"more", ("127.9.9.9", 4321))
        assert reply.recv(64) == b"more"
        with pytest.raises(BlockingIOError):
            second.recv(64)
        reply.close()
        second.close()


def test_open_reply_leaves_no_socket_when_it_fails(monkeypatch):
    monkeypatch.setattr(sockopt, "set_transparent", lambda sock, family: None)
    with pytest.raises(OSError, match="assign requested address"):
        sockopt.open_reply(("192.0.2.1", 4321), ("127.0.0.1", 9))
