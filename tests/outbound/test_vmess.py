"""VMess outbounds: which layers an entry means, and one flow over each kind through sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.loopback import RelayRig, readable
from support.vmess_peers import USER
from support.vmess_server import Body, open_request, response_header

from mihomo_tproxy.codec.address import encode_port_address
from mihomo_tproxy.codec.vmess.header import Command, Security
from mihomo_tproxy.codec.vmess.layer import VmessLayer, VmessPacketAddrLayer, VmessPacketLayer
from mihomo_tproxy.codec.xudp import XudpLayer
from mihomo_tproxy.config.specs.tls import TlsSpec
from mihomo_tproxy.config.specs.transport import WebSocketSpec
from mihomo_tproxy.config.specs.vmess import VmessSpec
from mihomo_tproxy.errors import LocalProtocolError
from mihomo_tproxy.outbound.env import OutboundEnv
from mihomo_tproxy.outbound.vmess import Vmess, build, security_of
from mihomo_tproxy.transport.tls import TlsLayer
from mihomo_tproxy.transport.websocket import WebSocketLayer

if TYPE_CHECKING:
    import socket
    from pathlib import Path


class Sink:
    """Keeps what a link delivers."""

    def __init__(self) -> None:
        self.got: list[tuple[bytes, Any]] = []

    def deliver(self, data: memoryview, remote: Any) -> None:
        self.got.append((bytes(data), remote))


def vmess(rig: RelayRig, **options: Any) -> Vmess:
    env = OutboundEnv(rig.context, rig.resolver, None)  # type: ignore[arg-type]
    env.outbounds = rig.outbounds
    host, port = rig.destination
    return build(VmessSpec("v", "vmess", server=host, port=port, uuid=USER, **options), env)


def accept(rig: RelayRig) -> socket.socket:
    rig.turn_until(lambda: readable(rig.server))
    proxy, _ = rig.server.accept()
    rig.keep(proxy)
    rig.turn_until(lambda: readable(proxy))
    return proxy


@pytest.mark.parametrize(
    ("cipher", "security"),
    [
        ("aes-128-gcm", Security.AES_128_GCM),
        ("chacha20-poly1305", Security.CHACHA20_POLY1305),
        ("none", Security.NONE),
        ("zero", Security.NONE),
    ],
)
def test_ciphers(cipher: str, security: Security) -> None:
    assert security_of(cipher) is security


def test_auto_asks_the_processor(tmp_path: Path) -> None:
    cpu = tmp_path / "cpuinfo"
    assert security_of("auto", cpu) is Security.CHACHA20_POLY1305
    cpu.write_text("flags\t\t: fpu sse2 aes avx\n")
    assert security_of("auto", cpu) is Security.AES_128_GCM
    cpu.write_text("flags\t\t: fpu sse2 vaesx avx\n")
    assert security_of("auto", cpu) is Security.CHACHA20_POLY1305


def test_layers() -> None:
    with RelayRig() as rig:
        plain = vmess(rig)
        assert [type(layer) for layer in plain.stream_layers("a.test", 1)] == [VmessLayer]
        assert [type(layer) for layer in plain.packet_layers("a.test", 1)] == [VmessPacketLayer]
        assert plain.packet_per_destination
        xudp = vmess(rig, packet_encoding="xudp")
        assert [type(layer) for layer in xudp.packet_layers("a.test", 1)] == [VmessLayer, XudpLayer]
        assert not xudp.packet_per_destination
        addressed = vmess(rig, packet_encoding="packetaddr")
        layers = addressed.packet_layers("a.test", 1)
        assert [type(layer) for layer in layers] == [VmessPacketAddrLayer]
        assert not addressed.packet_per_destination


def test_what_carries_it() -> None:
    with RelayRig() as rig:
        outbound = vmess(rig, tls=TlsSpec("front.test"), transport=WebSocketSpec())
        layers = outbound.route("a.test", 1).layers
        assert [type(layer) for layer in layers] == [TlsLayer, WebSocketLayer, VmessLayer]


def test_a_flow() -> None:
    with RelayRig() as rig:
        rig.outbounds.add(vmess(rig, cipher="aes-128-gcm", global_padding=True))
        rig.engine.by_port[rig.destination[1]] = "v"
        client = rig.connect()
        client.sendall(b"hello")
        proxy = accept(rig)
        wire = proxy.recv(4096)
        request = open_request(USER, wire)
        assert request.command == Command.TCP
        assert request.address == encode_port_address(*rig.destination)
        assert Body(request).open(wire[request.size :]) == [b"hello"]
        down = Body(request, is_response=True)
        proxy.sendall(response_header(request) + down.seal(b"answer") + down.seal(b""))
        rig.turn_until(lambda: readable(client))
        assert client.recv(100) == b"answer"
        rig.turn_until(lambda: readable(client))
        assert client.recv(100) == b""


def test_a_server_that_does_not_know_us_is_counted() -> None:
    with RelayRig() as rig:
        rig.outbounds.add(vmess(rig))
        rig.engine.by_port[rig.destination[1]] = "v"
        client = rig.connect()
        client.sendall(b"hello")
        proxy = accept(rig)
        proxy.recv(4096)
        proxy.close()
        rig.turn_until(lambda: rig.tracker.errors != {})
        assert rig.tracker.errors == {"vmess-no-answer": 1}


def test_datagrams() -> None:
    with RelayRig() as rig:
        sink = Sink()
        link = vmess(rig, udp=True).open_udp(sink)
        assert link is not None
        link.send(memoryview(b"query"), ("192.0.2.1", 53))
        proxy = accept(rig)
        wire = proxy.recv(4096)
        request = open_request(USER, wire)
        assert request.command == Command.UDP
        assert request.address == encode_port_address("192.0.2.1", 53)
        assert Body(request).open(wire[request.size :]) == [b"query"]
        proxy.sendall(response_header(request) + Body(request, is_response=True).seal(b"reply"))
        rig.turn_until(lambda: bool(sink.got))
        assert sink.got == [(b"reply", ("192.0.2.1", 53))]
        link.close()
        assert rig.tracker.errors == {}


def test_no_host_to_name() -> None:
    with RelayRig() as rig, pytest.raises(LocalProtocolError):
        vmess(rig).route("x" * 256, 1)
