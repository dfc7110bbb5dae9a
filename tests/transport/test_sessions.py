"""Sessions, both ways of taking them."""

from __future__ import annotations

import ctypes
import gc
import ssl
import sys
from types import SimpleNamespace

import pytest
from support.tls import NAME, TlsPeer, server_context

from mihomo_tproxy.transport import sessions as module
from mihomo_tproxy.transport.sessions import (
    CopiedSessions,
    Sessions,
    SharedSessions,
    find_sessions,
)

WAYS = ["shared", "copied"]
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
both_versions = pytest.mark.parametrize("highest", VERSIONS, ids=["1.2", "1.3"])


class Client:
    """The least of a client."""

    def __init__(self) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE

    def start(self) -> tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        return self.context.wrap_bio(incoming, outgoing, server_hostname=NAME), incoming, outgoing

    def connect(
        self, server: ssl.SSLContext, ways: Sessions, session: object | None
    ) -> ssl.SSLObject:
        """A connection over which an answer came."""
        connection, incoming, outgoing = self.start()
        if session is not None:
            ways.offer(connection, session)
        peer = TlsPeer(server)
        while not peer.ready or not connection.version():
            try:
                connection.do_handshake()
            except ssl.SSLWantReadError:
                pass
            incoming.write(peer.feed(outgoing.read()))
        incoming.write(peer.seal(b"answer"))
        assert connection.read(100) == b"answer"
        return connection


@pytest.fixture(params=WAYS)
def ways(request: pytest.FixtureRequest) -> Sessions:
    if request.param == "copied":
        return CopiedSessions()
    found = find_sessions(Client().context)
    assert isinstance(found, SharedSessions)
    return found


@both_versions
def test_a_session_resumes_any_number_of_connections(
    ways: Sessions, highest: ssl.TLSVersion
) -> None:
    client, server = Client(), server_context(highest=highest)
    connection = client.connect(server, ways, None)
    session = ways.take(connection)
    assert session is not None
    del connection
    gc.collect()
    for _ in range(3):
        resumed = client.connect(server, ways, session)
        assert resumed.session_reused
        assert resumed.getpeercert(True)


@both_versions
def test_a_connection_that_breaks_leaves_the_session_alone(
    ways: Sessions, highest: ssl.TLSVersion
) -> None:
    """OpenSSL marks the session of a connection that was not closed in order."""
    client, server = Client(), server_context(highest=highest)
    session = ways.take(client.connect(server, ways, None))
    assert session is not None
    for _ in range(2):
        broken = client.connect(server, ways, session)
        assert broken.session_reused
        del broken
        gc.collect()


def test_a_connection_without_a_session(ways: Sessions) -> None:
    client, server = Client(), server_context()
    server.num_tickets = 0
    assert ways.take(client.start()[0]) is None
    assert ways.take(client.connect(server, ways, None)) is None


def test_a_session_outlives_the_connections(ways: Sessions) -> None:
    client, server = Client(), server_context()
    first = ways.take(client.connect(server, ways, None))
    connection = client.connect(server, ways, first)
    second = ways.take(connection)
    del first, connection
    gc.collect()
    assert client.connect(server, ways, second).session_reused


def test_another_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    other = SimpleNamespace(implementation=SimpleNamespace(name="pypy"), modules=sys.modules)
    monkeypatch.setattr(module, "sys", other)
    assert isinstance(find_sessions(Client().context), CopiedSessions)


@pytest.mark.parametrize("path", ["/nonexistent.so", "libc.so.6"])
def test_another_library(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    load = ctypes.PyDLL
    monkeypatch.setattr(ctypes, "PyDLL", lambda name: load(path))
    assert isinstance(find_sessions(Client().context), CopiedSessions)


@pytest.mark.parametrize("head", [0, 8, 24])
def test_another_layout(head: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of OpenSSL's is called with what is not an SSL."""
    monkeypatch.setattr(module, "_HEAD", head)
    assert isinstance(find_sessions(Client().context), CopiedSessions)


def test_a_smaller_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_inner_size", lambda connection: 39)
    assert isinstance(find_sessions(Client().context), CopiedSessions)
