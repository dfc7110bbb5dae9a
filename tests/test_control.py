"""The control socket: who may talk, what is understood, and that nobody holds the server up."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mihomo_tproxy import control
from mihomo_tproxy.control import ControlServer, answer, ask
from mihomo_tproxy.errors import GatewayError


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "gateway.sock")


@pytest.fixture
def server(path, monkeypatch):
    monkeypatch.setattr(control, "PATIENCE_S", 0.05)
    listening = ControlServer(path)
    yield listening
    listening.close()


def said(server, path, data, *, end=True):
    """What the server takes for a request, and what a client reads then."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(path)
        client.settimeout(5)
        client.sendall(data)
        if end:
            client.shutdown(socket.SHUT_WR)
        taken = server.accept()
        if taken is not None:
            taken[0].close()
            return taken[1]
        return json.loads(client.recv(65536))


def test_the_socket_is_for_its_owner_alone(server, path):
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_a_dead_instances_socket_is_replaced_and_ours_removed(server, path):
    again = ControlServer(path)
    assert said(again, path, b'{"command": "groups"}\n') == {"command": "groups"}
    again.close()
    assert not os.path.exists(path)


def test_an_abandoned_socket_stays_the_parents(path):
    server = ControlServer(path)
    server.abandon()
    assert os.path.exists(path)
    server.close()


def test_nobody_there(server):
    assert server.accept() is None


def test_a_request_may_come_in_pieces(server, path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(path)
        client.sendall(b'{"comm')
        thread = threading.Timer(0.01, client.sendall, [b'and": 1}\n'])
        thread.start()
        taken = server.accept()
        thread.join()
    assert taken is not None
    taken[0].close()
    assert taken[1] == {"command": 1}


def test_who_says_nothing_is_dropped(server, path):
    assert said(server, path, b"", end=False) == {"error": "not a request: timed out"}


def test_a_trickle_is_no_way_to_stay(server, path, monkeypatch):
    """Each byte comes in time; all of them together do not."""
    now = iter(range(100))
    monkeypatch.setattr(control, "PATIENCE_S", 3)
    monkeypatch.setattr(control, "time", SimpleNamespace(monotonic=lambda: next(now)))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(path)
        thread = threading.Thread(target=_trickle, args=(client,))
        thread.start()
        assert server.accept() is None
        thread.join()
    assert next(now) < 10


def _trickle(client):
    try:
        while True:
            client.sendall(b"[")
    except OSError:
        return


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"\n", "not a request: "),
        (b"[]\n", "not a request: expected an object"),
        (b"\xff\n", "not a request: 'utf-8'"),
        (b"[" * 60000 + b"\n", "not a request: maximum recursion"),
        (b"1" * 5000 + b"\n", "not a request: Exceeds"),
        (b'"' + b"x" * control.REQUEST_LIMIT, "not a request: the line is too long"),
    ],
)
def test_what_is_no_request(server, path, data, error):
    assert said(server, path, data)["error"].startswith(error)


def test_a_client_that_has_gone(server, path):
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(path)
    client.sendall(b"no request\n")
    client.close()
    assert server.accept() is None


def test_a_client_that_does_not_read(monkeypatch):
    monkeypatch.setattr(control, "PATIENCE_S", 0.05)
    ours, theirs = socket.socketpair()
    answer(ours, {"much": "x" * (8 << 20)})
    assert ours.fileno() == -1
    theirs.close()


@given(data=st.binary(max_size=200))
def test_nothing_a_client_sends_is_an_exception(tmp_path_factory, data):
    path = str(tmp_path_factory.mktemp("c") / "s")
    server = ControlServer(path)
    try:
        assert isinstance(said(server, path, data + b"\n"), dict)
    finally:
        server.close()


def answered(path, data):
    """What a client makes of these bytes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(path)
        listening.listen()

        def serve():
            peer, _ = listening.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(data)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            return ask(path, {"command": "groups"})
        finally:
            thread.join()


def test_an_answer(path):
    assert answered(path, b'{"ok": true}\n') == {"ok": True}


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b'{"error": "no such group"}\n', "no such group"),
        (b"", "does not answer"),
        (b"[]\n", "in its words"),
        (b"\xff\n", "does not answer"),
    ],
)
def test_answers_that_are_errors(path, data, error):
    with pytest.raises(GatewayError, match=error):
        answered(path, data)


def test_nobody_listens(path):
    with pytest.raises(GatewayError, match="no gateway runs in this network namespace"):
        ask(path, {})
    ControlServer(path).abandon()
    with pytest.raises(GatewayError, match="no gateway runs in this network namespace"):
        ask(path, {})
