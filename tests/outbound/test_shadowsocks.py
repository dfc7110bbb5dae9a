"""A Shadowsocks server on loopback: what reaches it, and what comes back."""

from __future__ import annotations

import socket

import pytest
from support.flows import metadata
from support.loopback import RelayRig, readable
from support.shadowsocks import Request, Response, profile

from mihomo_tproxy.codec.shadowsocks.aead import AeadStream
from mihomo_tproxy.codec.shadowsocks.udp import AeadPackets, PlainPackets
from mihomo_tproxy.codec.uot import UotPackets
from mihomo_tproxy.config.specs.shadowsocks import ObfsSpec, ShadowsocksSpec
from mihomo_tproxy.outbound.env import OutboundEnv
from mihomo_tproxy.outbound.shadowsocks import ShadowsocksLink, build
from mihomo_tproxy.transport.obfs import HttpObfs, TlsObfs

NAME = "aes-128-gcm"


class Sink:
    def __init__(self) -> None:
        self.got = []

    def deliver(self, data, remote) -> None:
        self.got.append((bytes(data), remote))


def shadowsocks(rig, *, cipher=NAME, udp=True, port=0, server="", dialer_proxy="", **options):
    env = OutboundEnv(rig.context, rig.resolver, None)
    env.outbounds = rig.outbounds
    host, own = rig.destination
    return build(
        ShadowsocksSpec(
            "ss",
            "ss",
            server=server or host,
            port=port or own,
            udp=udp,
            dialer_proxy=dialer_proxy,
            cipher=cipher,
            password="password",  # noqa: S106
            **options,
        ),
        env,
    )


class UdpServer:
    """Takes datagrams apart with a codec, and answers."""

    def __init__(self, rig, codec=None) -> None:
        self._rig = rig
        self.codec = codec or AeadPackets(profile(NAME, seed=2))
        self.sock = rig.keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.sock.bind(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]

    def receive(self):
        self._rig.turn_until(lambda: readable(self.sock))
        data, self.client = self.sock.recvfrom(65536)
        return self.codec.open(data)

    def send(self, *packet, sock=None) -> None:
        (sock or self.sock).sendto(self.codec.seal(*packet), self.client)


def test_a_flow_and_its_first_payload():
    with RelayRig() as rig:
        outbound = shadowsocks(rig)
        listener = rig.keep(socket.create_server(("127.0.0.1", 0)))
        client = rig.keep(socket.create_connection(listener.getsockname()))
        ours, _ = listener.accept()
        ours.setblocking(False)
        client.sendall(b"hello")
        outbound.open_tcp(ours, metadata("192.0.2.9", 443))
        rig.turn_until(lambda: readable(rig.server))
        server = rig.keep(rig.server.accept()[0])
        rig.turn_until(lambda: readable(server))
        request = Request(profile(NAME), server.recv(65536))
        assert request.destination == ("192.0.2.9", 443)
        assert request.payload == b"hello"
        server.sendall(Response(profile(NAME), b"").seal(b"answer"))
        rig.turn_until(lambda: readable(client))
        assert client.recv(100) == b"answer"


@pytest.mark.parametrize(
    ("obfs", "kind"),
    [(None, None), (ObfsSpec("http"), HttpObfs), (ObfsSpec("tls"), TlsObfs)],
)
def test_the_layers_of_a_stream(obfs, kind):
    with RelayRig() as rig:
        layers = shadowsocks(rig, obfs=obfs).route("a.test", 443).layers
        wanted = [kind, AeadStream] if kind else [AeadStream]
        assert [type(layer) for layer in layers] == wanted


@pytest.mark.parametrize("version", [1, 2])
def test_udp_over_tcp(version):
    with RelayRig() as rig:
        outbound = shadowsocks(rig, udp_over_tcp=True, udp_over_tcp_version=version)
        link = outbound.open_udp(Sink())
        link.send(memoryview(b"query"), ("192.0.2.1", 53))
        rig.turn_until(lambda: readable(rig.server))
        server = rig.keep(rig.server.accept()[0])
        rig.turn_until(lambda: readable(server))
        request = Request(profile(NAME), server.recv(65536))
        link.close()
        magic = "sp.udp-over-tcp.arpa" if version == 1 else "sp.v2.udp-over-tcp.arpa"
        assert request.destination == (magic, 0)
        wanted = UotPackets(version, "192.0.2.1", 53).seal_packet(b"query", "192.0.2.1", 53)
        assert request.payload == wanted


def test_datagrams_of_any_remote():
    with RelayRig() as rig:
        sink, server = Sink(), UdpServer(rig)
        link = shadowsocks(rig, port=server.port).open_udp(sink)
        for host in ("192.0.2.1", "2001:db8::1", "a.test"):
            link.send(memoryview(b"query"), (host, 53))
            assert server.receive() == (b"query", host, 53)
        server.send(b"one", "192.0.2.7", 9)
        server.send(b"two", "2001:db8::7", 9)
        rig.turn_until(lambda: len(sink.got) == 2)
        assert sink.got == [
            (b"one", ("192.0.2.7", 9)),
            (b"two", ("2001:db8::7", 9, 0, 0)),
        ]
        link.close()
        link.close()
        link.send(memoryview(b"late"), ("192.0.2.1", 53))
        link.deliver(memoryview(b"late"), ("127.0.0.1", server.port))
        assert len(sink.got) == 2


def test_what_is_not_the_servers():
    with RelayRig() as rig:
        sink, server = Sink(), UdpServer(rig)
        link = shadowsocks(rig, port=server.port).open_udp(sink)
        link.send(memoryview(b"query"), ("192.0.2.1", 53))
        server.receive()
        stranger = rig.keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        server.send(b"false", "192.0.2.7", 9, sock=stranger)
        server.sock.sendto(b"garbage", server.client)
        server.send(b"true", "192.0.2.7", 9)
        rig.turn_until(lambda: bool(sink.got))
        assert sink.got == [(b"true", ("192.0.2.7", 9))]
        assert rig.tracker.errors["ss-udp-stranger"] == 1
        assert rig.tracker.errors["ss-auth-failed"] == 1
        link.close()


@pytest.mark.parametrize("cipher", [NAME, "none"])
def test_a_server_with_a_name(cipher):
    with RelayRig() as rig:
        sink = Sink()
        server = UdpServer(rig, PlainPackets() if cipher == "none" else None)
        outbound = shadowsocks(rig, cipher=cipher, server="localhost", port=server.port)
        link = outbound.open_udp(sink)
        link.send(memoryview(b"query"), ("192.0.2.1", 53))
        server.receive()
        server.send(b"answer", "192.0.2.1", 53)
        rig.turn_until(lambda: bool(sink.got))
        learnt = link._server[0]
        link.close()
        assert learnt == ("localhost" if cipher == "none" else "127.0.0.1")


def test_a_host_that_cannot_be_written():
    with RelayRig() as rig:
        link = shadowsocks(rig).open_udp(Sink())
        link.send(memoryview(b""), ("x" * 256, 53))
        link.close()
        assert rig.tracker.errors["bad-name"] == 1


def test_no_way_to_the_server():
    with RelayRig() as rig:
        assert shadowsocks(rig, udp=False).open_udp(Sink()) is None
        assert shadowsocks(rig, dialer_proxy="gone").open_udp(Sink()) is None
        assert rig.tracker.errors["no-dialer-proxy"] == 1


def test_a_link_is_one_session():
    with RelayRig() as rig:
        outbound = shadowsocks(rig)
        links = [ShadowsocksLink.open(outbound, Sink()) for _ in range(2)]
        assert links[0]._codec is not links[1]._codec
        for link in links:
            link.close()
