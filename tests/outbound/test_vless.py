"""A VLESS server on loopback: what reaches it, and what comes back."""

from __future__ import annotations

import pytest
from support.loopback import RelayRig, readable

from mihomo_tproxy.codec.packet_addr import MAGIC_HOST, MAGIC_PORT
from mihomo_tproxy.codec.vless import MUX, TCP, UDP, VlessLayer, encode_request
from mihomo_tproxy.codec.xudp import XudpLayer
from mihomo_tproxy.config.specs.tls import TlsSpec
from mihomo_tproxy.config.specs.transport import GrpcSpec, H2Spec, HttpSpec, WebSocketSpec
from mihomo_tproxy.config.specs.vless import VlessSpec
from mihomo_tproxy.errors import LocalProtocolError
from mihomo_tproxy.outbound.env import OutboundEnv
from mihomo_tproxy.outbound.vless import build
from mihomo_tproxy.transport.grpc import GrpcLayer
from mihomo_tproxy.transport.h2 import H2Layer
from mihomo_tproxy.transport.http import HttpLayer
from mihomo_tproxy.transport.tls import TlsLayer
from mihomo_tproxy.transport.websocket import WebSocketLayer

USER_ID = bytes(range(16))
RESPONSE = b"\0\0"
ONE, TWO = ("192.0.2.1", 53), ("2001:db8::1", 54, 0, 0)


class Sink:
    """Keeps what a link delivers."""

    def __init__(self) -> None:
        self.got = []

    def deliver(self, data, remote) -> None:
        self.got.append((bytes(data), remote))


def vless(rig, **options):
    host, port = rig.destination
    env = OutboundEnv(rig.context, rig.resolver, None)
    env.outbounds = rig.outbounds
    outbound = build(VlessSpec("v", "vless", server=host, port=port, uuid=USER_ID, **options), env)
    rig.outbounds.add(outbound)
    rig.engine.by_port[port] = "v"
    return outbound


def accept(rig):
    rig.turn_until(lambda: readable(rig.server))
    sock, _ = rig.server.accept()
    return rig.keep(sock)


def receive(rig, sock, size):
    got = b""
    while len(got) < size:
        rig.turn_until(lambda: readable(sock))
        data = sock.recv(size - len(got))
        assert data
        got += data
    return got


def test_a_stream():
    with RelayRig() as rig:
        vless(rig)
        client = rig.connect()
        client.sendall(b"request")
        server = accept(rig)
        expected = encode_request(USER_ID, TCP, *rig.destination) + b"request"
        assert receive(rig, server, len(expected)) == expected
        server.sendall(RESPONSE + b"answer")
        assert receive(rig, client, 6) == b"answer"
        client.sendall(b"more")
        assert receive(rig, server, 4) == b"more"
        client.shutdown(1)
        rig.turn_until(lambda: readable(server))
        assert server.recv(1) == b""
        server.sendall(b"the end")
        server.close()
        assert receive(rig, client, 7) == b"the end"
        rig.turn_until(lambda: rig.tracker.tcp_live == 0)
        assert rig.tracker.errors == {}


def test_who_waits_for_the_server_to_speak_first_is_not_kept_waiting():
    with RelayRig() as rig:
        vless(rig)
        client = rig.connect()
        server = accept(rig)
        expected = encode_request(USER_ID, TCP, *rig.destination)
        assert receive(rig, server, len(expected)) == expected
        server.sendall(RESPONSE + b"220 hello")
        assert receive(rig, client, 9) == b"220 hello"


def test_an_upload_that_is_answered_with_nothing():
    with RelayRig() as rig:
        vless(rig)
        client = rig.connect()
        client.sendall(b"upload")
        client.shutdown(1)
        server = accept(rig)
        receive(rig, server, len(encode_request(USER_ID, TCP, *rig.destination)) + 6)
        rig.turn_until(lambda: readable(server))
        assert server.recv(1) == b""
        server.close()
        rig.turn_until(lambda: readable(client))
        assert client.recv(1) == b""
        rig.turn_until(lambda: rig.tracker.tcp_live == 0)
        assert rig.tracker.errors == {}


def test_a_server_that_ends_without_a_word_is_counted_and_its_end_passed_on():
    with RelayRig() as rig:
        vless(rig)
        client = rig.connect()
        client.sendall(b"request")
        server = accept(rig)
        receive(rig, server, len(encode_request(USER_ID, TCP, *rig.destination)) + 7)
        server.close()
        rig.turn_until(lambda: readable(client))
        assert client.recv(1) == b""
        assert rig.tracker.errors == {"vless-no-answer": 1}


@pytest.mark.parametrize(
    ("answer", "cause"), [(b"HTTP/1.1 400", "vless-bad-response"), (b"\0", "vless-cut-short")]
)
def test_a_server_that_is_another(answer, cause):
    with RelayRig() as rig:
        vless(rig)
        client = rig.connect()
        client.sendall(b"request")
        server = accept(rig)
        receive(rig, server, len(encode_request(USER_ID, TCP, *rig.destination)) + 7)
        server.sendall(answer)
        server.close()
        rig.turn_until(lambda: readable(client))
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert rig.tracker.errors == {cause: 1}


def test_a_name_that_cannot_be_said():
    with RelayRig() as rig:
        outbound = vless(rig)
        with pytest.raises(LocalProtocolError):
            outbound.route("bücher.example", 80)


def test_datagrams_of_any_remote_by_xudp():
    with RelayRig() as rig:
        sink = Sink()
        link = vless(rig, udp=True).open_udp(sink)
        link.send(memoryview(b"one"), ONE)
        link.send(memoryview(b"two"), TWO)
        server = accept(rig)
        layer = XudpLayer()
        frames = [
            bytes(layer.seal_packet(b"one", *ONE)),
            bytes(layer.seal_packet(b"two", *TWO[:2])),
        ]
        expected = encode_request(USER_ID, MUX) + b"".join(frames)
        assert receive(rig, server, len(expected)) == expected
        keep = frames[0][:4] + b"\2" + frames[0][5:]
        server.sendall(RESPONSE + frames[1] + keep)
        rig.turn_until(lambda: len(sink.got) == 2)
        assert sink.got == [(b"two", TWO), (b"one", ONE)]
        link.close()


def test_datagrams_of_any_remote_by_packet_addr():
    with RelayRig() as rig:
        sink = Sink()
        link = vless(rig, udp=True, packet_encoding="packetaddr").open_udp(sink)
        link.send(memoryview(b"one"), ONE)
        link.send(memoryview(b"two"), TWO)
        server = accept(rig)
        one = b"\0\x0a\1\xc0\0\2\1\0\x35one"
        two = b"\0\x16\2\x20\1\x0d\xb8" + bytes(11) + b"\1\0\x36two"
        expected = encode_request(USER_ID, UDP, MAGIC_HOST, MAGIC_PORT) + one + two
        assert receive(rig, server, len(expected)) == expected
        server.sendall(RESPONSE + two + one)
        rig.turn_until(lambda: len(sink.got) == 2)
        assert sink.got == [(b"two", TWO), (b"one", ONE)]
        link.close()


def test_datagrams_with_a_stream_for_each_remote():
    with RelayRig() as rig:
        sink = Sink()
        link = vless(rig, udp=True, packet_encoding="").open_udp(sink)
        for data, remote in ((b"one", ONE), (b"two", TWO)):
            link.send(memoryview(data), remote)
            server = accept(rig)
            expected = encode_request(USER_ID, UDP, *remote[:2]) + b"\0\3" + data
            assert receive(rig, server, len(expected)) == expected
            server.sendall(RESPONSE + b"\0\3" + data[::-1])
            rig.turn_until(lambda: bool(sink.got))
            assert sink.got.pop() == (data[::-1], remote)
        link.close()


def test_no_datagrams():
    with RelayRig() as rig:
        assert vless(rig, udp=False).open_udp(Sink()) is None


@pytest.mark.parametrize("tls", [None, TlsSpec(server_name="v.test")])
@pytest.mark.parametrize(
    ("transport", "layers"),
    [
        (None, []),
        (WebSocketSpec(headers=(("Host", "v.test"),)), [WebSocketLayer]),
        (HttpSpec(headers=(("Host", ("v.test",)),)), [HttpLayer]),
        (H2Spec(hosts=("v.test",)), [H2Layer]),
        (GrpcSpec(), [GrpcLayer]),
    ],
)
def test_networks(tls, transport, layers):
    with RelayRig() as rig:
        route = vless(rig, tls=tls, transport=transport).route("example.com", 80)
        expected = [*([TlsLayer] if tls else []), *layers, VlessLayer]
        assert [type(layer) for layer in route.layers] == expected
