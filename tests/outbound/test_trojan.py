"""A Trojan server on loopback: who it is, what reaches it, and what comes back."""

from __future__ import annotations

import pytest
from support.loopback import RelayRig, readable
from support.tls import NAME, TlsPeer, authority, certificate, server_context, trust

from mihomo_tproxy.codec.trojan import TrojanStream, trojan_key
from mihomo_tproxy.config.specs.tls import TlsSpec
from mihomo_tproxy.config.specs.transport import GrpcSpec, WebSocketSpec
from mihomo_tproxy.config.specs.trojan import TrojanSpec
from mihomo_tproxy.outbound.env import OutboundEnv
from mihomo_tproxy.outbound.trojan import build
from mihomo_tproxy.transport.grpc import GrpcLayer
from mihomo_tproxy.transport.tls import TlsLayer
from mihomo_tproxy.transport.websocket import WebSocketLayer

SECRET = "a password of the test"  # noqa: S105
KEY = trojan_key(SECRET)


@pytest.fixture(autouse=True)
def trusted(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", trust(authority(), tmp_path))


class Sink:
    def __init__(self) -> None:
        self.got = []

    def deliver(self, data, remote) -> None:
        self.got.append((bytes(data), remote))


class Server:
    """One connection of the rig's server, with TLS."""

    def __init__(self, rig, leaf=None) -> None:
        self._rig = rig
        rig.turn_until(lambda: readable(rig.server))
        sock, _ = rig.server.accept()
        self.sock = rig.keep(sock)
        self.peer = TlsPeer(server_context(leaf))

    def receive(self, size: int) -> bytes:
        """Payload, once there is so much."""
        while len(self.peer.received) < size and not self.peer.closed:
            self._rig.turn_until(lambda: readable(self.sock))
            data = self.sock.recv(65536)
            assert data
            self.sock.sendall(self.peer.feed(data))
        return self.peer.received

    def send(self, payload: bytes) -> None:
        self.sock.sendall(self.peer.seal(payload))


def trojan(rig, *, udp=True, transport=None):
    host, port = rig.destination
    env = OutboundEnv(rig.context, rig.resolver, None)
    env.outbounds = rig.outbounds
    tls = TlsSpec(server_name=NAME)
    outbound = build(
        TrojanSpec(
            "t", "trojan", server=host, port=port, udp=udp,
            password=SECRET, tls=tls, transport=transport,
        ),
        env,
    )  # fmt: skip
    rig.outbounds.add(outbound)
    rig.engine.by_port[port] = "t"
    return outbound


def test_a_stream():
    with RelayRig() as rig:
        trojan(rig)
        client = rig.connect()
        client.sendall(b"request")
        server = Server(rig)
        port = rig.destination[1].to_bytes(2, "big")
        expected = KEY + b"\r\n\x01\x01\x7f\x00\x00\x01" + port + b"\r\nrequest"
        assert server.receive(len(expected)) == expected
        server.send(b"answer")
        rig.turn_until(lambda: readable(client))
        assert client.recv(100) == b"answer"
        client.close()
        server.receive(len(expected) + 1)
        assert server.peer.closed
        server.sock.sendall(server.peer.close())
        server.sock.close()
        rig.turn_until(lambda: rig.tracker.tcp_live == 0)
        assert rig.tracker.errors == {}


def test_a_server_that_is_somebody_else():
    with RelayRig() as rig:
        trojan(rig)
        client = rig.connect()
        server = Server(rig, certificate("other.test"))
        rig.turn_until(lambda: readable(server.sock))
        server.sock.sendall(server.peer.feed(server.sock.recv(65536)))
        rig.turn_until(lambda: readable(client))
        assert rig.tracker.errors == {"tls-certificate": 1}
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_datagrams():
    with RelayRig() as rig:
        sink = Sink()
        link = trojan(rig).open_udp(sink)
        link.send(memoryview(b"one"), ("192.0.2.1", 53))
        link.send(memoryview(b"two"), ("2001:db8::1", 54, 0, 0))
        server = Server(rig)
        request = KEY + b"\r\n\x03\x01\xc0\x00\x02\x01\x00\x35\r\n"
        one = b"\x01\xc0\x00\x02\x01\x00\x35\x00\x03\r\none"
        two = b"\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01\x00\x36\x00\x03\r\ntwo"
        expected = request + one + two
        assert server.receive(len(expected)) == expected
        server.send(two + one)
        rig.turn_until(lambda: len(sink.got) == 2)
        assert sink.got == [(b"two", ("2001:db8::1", 54, 0, 0)), (b"one", ("192.0.2.1", 53))]
        link.close()


def test_no_datagrams():
    with RelayRig() as rig:
        assert trojan(rig, udp=False).open_udp(Sink()) is None


@pytest.mark.parametrize(
    ("transport", "layer"),
    [(WebSocketSpec(headers=(("Host", NAME),)), WebSocketLayer), (GrpcSpec(), GrpcLayer)],
)
def test_networks(transport, layer):
    with RelayRig() as rig:
        route = trojan(rig, transport=transport).route("example.com", 80)
        assert [type(found) for found in route.layers] == [TlsLayer, layer, TrojanStream]
