"""A proxy outbound of the file on a loopback rig, whose server the test plays."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from support.loopback import readable

from mihomo_tproxy.outbound.env import OutboundEnv
from mihomo_tproxy.outbound.factory import build_outbounds

if TYPE_CHECKING:
    from support.loopback import RelayRig

    from mihomo_tproxy.config.specs.base import ProxySpec
    from mihomo_tproxy.outbound.base import Outbound
    from mihomo_tproxy.outbound.registry import OutboundRegistry


class Sink:
    """Keeps what a link delivers."""

    def __init__(self) -> None:
        self.got = []

    def deliver(self, data, remote) -> None:
        self.got.append((bytes(data), remote))


def built(rig: RelayRig, *specs: ProxySpec, **more) -> OutboundRegistry:
    """The outbounds of these specs, and the built-in ones; `more` as `build_outbounds` has it."""
    return build_outbounds(specs, OutboundEnv(rig.context, rig.resolver, None), **more)


def use(rig: RelayRig, outbound: Outbound) -> None:
    """Send every flow of the rig's clients there."""
    rig.tunnel.outbounds.add(outbound)
    rig.engine.decision = rig.engine.decision._replace(target=outbound.name)


def accept(rig: RelayRig) -> socket.socket:
    """The proxy's end of the next connection to it."""
    rig.turn_until(lambda: readable(rig.server))
    proxy, _ = rig.server.accept()
    return rig.keep(proxy)


def receive(rig: RelayRig, sock: socket.socket, size: int) -> bytes:
    """Exactly so many bytes, while the rig runs."""
    got = b""
    while len(got) < size:
        rig.turn_until(lambda: readable(sock))
        data = sock.recv(size - len(got))
        assert data
        got += data
    return got


def datagrams(rig: RelayRig, host: str = "127.0.0.1") -> socket.socket:
    """A UDP socket of the test's."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    return rig.keep(sock)


def receive_datagram(rig: RelayRig, sock: socket.socket) -> tuple[bytes, tuple]:
    """The next datagram and its sender, while the rig runs."""
    rig.turn_until(lambda: readable(sock))
    return sock.recvfrom(65536)
