"""The transparent inbound: original destinations, loops."""

from __future__ import annotations

import socket
import struct

import pytest
from support.loopback import RelayRig, both_loops

from mihomo_tproxy.inbound.tproxy import UdpListener, dscp_of, open_udp, original_destination
from mihomo_tproxy.net.sockopt import IP_RECVORIGDSTADDR, IPV6_RECVORIGDSTADDR


def test_taken_address_is_an_error_without_a_leak():
    with pytest.raises(OSError, match="assign requested address"):
        open_udp(socket.AF_INET, "192.0.2.1", 0, transparent=False)


def test_reuse_port_lets_workers_share():
    first = open_udp(socket.AF_INET, "127.0.0.1", 0, transparent=False, reuse_port=True)
    port = first.getsockname()[1]
    second = open_udp(socket.AF_INET, "127.0.0.1", port, transparent=False, reuse_port=True)
    second.close()
    first.close()


def test_original_destination_v4():
    data = struct.pack("=H", socket.AF_INET) + struct.pack(">H4s8x", 443, bytes([192, 0, 2, 1]))
    ancillary = [(0, 1, b"other"), (socket.IPPROTO_IP, IP_RECVORIGDSTADDR, data)]
    assert original_destination(ancillary) == ("192.0.2.1", 443)


def test_original_destination_v6():
    address = socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    data = struct.pack("=H", socket.AF_INET6) + struct.pack(">HI16s", 443, 0, address)
    data += struct.pack("=I", 3)
    ancillary = [(socket.IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, data)]
    assert original_destination(ancillary) == ("2001:db8::1", 443, 0, 3)


def test_original_destination_missing():
    assert original_destination([]) is None


@both_loops
def test_connection_to_the_listener_itself_is_reset(loop_factory):
    with RelayRig(loop_factory) as rig:
        rig.destination = rig.address
        client = rig.connect()
        rig.turn_until(lambda: rig.tracker.errors != {})
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert rig.tracker.errors == {"loop": 1}


class Sink:
    def __init__(self):
        self.got = []

    def handle_udp(self, data, source, destination):
        self.got.append((bytes(data), source, destination))


@both_loops
def test_datagrams_reach_the_sink_with_their_destination(loop_factory):
    with RelayRig(loop_factory) as rig:
        sock = open_udp(socket.AF_INET, "127.0.0.1", 0, transparent=False)
        address = sock.getsockname()
        destinations = [("192.0.2.1", 53), None, ("127.0.0.1", address[1])]
        sink = Sink()
        listener = UdpListener(
            rig.reactor, sock, sink, rig.tracker, lambda ancillary: destinations.pop(0)
        )
        listener.start()
        client = rig.keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        client.bind(("127.0.0.1", 0))
        for word in (b"one", b"two", b"three"):
            client.sendto(word, address)
        rig.turn_until(lambda: not destinations)
        assert sink.got == [(b"one", client.getsockname(), ("192.0.2.1", 53))]
        assert rig.tracker.errors == {"udp-no-destination": 1, "loop": 1}
        listener.close()


def test_kernel_tells_the_original_destination():
    with RelayRig() as rig:
        sock = open_udp(socket.AF_INET, "0.0.0.0", 0, transparent=False)
        sink = Sink()
        listener = UdpListener(rig.reactor, sock, sink, rig.tracker)
        listener._guard.port = 0
        listener.start()
        client = rig.keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        port = sock.getsockname()[1]
        client.sendto(b"x", ("127.3.4.5", port))
        rig.turn_until(lambda: bool(sink.got))
        assert sink.got[0][2] == ("127.3.4.5", port)
        listener.close()


@pytest.mark.parametrize(
    ("family", "host", "level", "option"),
    [
        (socket.AF_INET, "127.0.0.1", socket.IPPROTO_IP, socket.IP_TOS),
        (socket.AF_INET6, "::1", socket.IPPROTO_IPV6, socket.IPV6_TCLASS),
    ],
)
def test_the_sink_is_told_the_dscp_if_it_is_wanted(family, host, level, option):
    with RelayRig() as rig:
        sock = open_udp(family, host, 0, transparent=False)
        address = sock.getsockname()[:2]
        sink = Sink()
        listener = UdpListener(
            rig.reactor, sock, sink, rig.tracker, lambda ancillary: ("192.0.2.1", 53)
        )
        listener.start()
        client = rig.keep(socket.socket(family, socket.SOCK_DGRAM))
        client.setsockopt(level, option, 46 << 2 | 1)
        for wanted, told in ((False, 0), (True, 46), (False, 0)):
            listener.want_dscp(wanted)
            sink.got.clear()
            client.sendto(b"x", address)
            rig.turn_until(lambda: bool(sink.got))
            assert sink.dscp == told
        listener.close()


def test_dscp_of_a_datagram_that_does_not_say():
    assert dscp_of([(socket.IPPROTO_IP, IP_RECVORIGDSTADDR, bytes(16))]) == 0
    assert dscp_of([]) == 0
