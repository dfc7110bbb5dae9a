"""The ICMP answers, byte by byte, and their rate limit."""

from __future__ import annotations

import socket
import struct
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mihomo_tproxy.net import icmp
from mihomo_tproxy.net.icmp import BURST, Unreachable, checksum, port_unreachable

CLIENT4, SERVER4 = ("10.1.0.2", 40000), ("192.0.2.7", 443)
CLIENT6, SERVER6 = ("fd00::2", 40000, 0, 0), ("2001:db8::7", 443, 0, 0)


def test_checksum_of_rfc_1071():
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == ~0xDDF2 & 0xFFFF


@given(st.binary(min_size=2).filter(lambda data: len(data) % 2 == 0))
def test_checksum_verifies(data):
    summed = checksum(data)
    assert checksum(data + struct.pack(">H", summed)) in (0, 0xFFFF)


def test_v4_answer_comes_from_the_destination_and_quotes_the_datagram():
    packet = port_unreachable(CLIENT4, SERVER4, 5)
    outer, message = packet[:20], packet[20:]
    assert checksum(outer) == 0
    assert outer[9] == socket.IPPROTO_ICMP
    assert struct.unpack(">H", outer[2:4])[0] == len(packet)
    assert outer[12:16] == socket.inet_aton(SERVER4[0])
    assert outer[16:20] == socket.inet_aton(CLIENT4[0])
    assert message[:2] == bytes([3, 3])
    assert checksum(message) == 0
    quoted = message[8:]
    assert checksum(quoted[:20]) == 0
    assert quoted[9] == socket.IPPROTO_UDP
    assert quoted[12:16] == socket.inet_aton(CLIENT4[0])
    assert quoted[16:20] == socket.inet_aton(SERVER4[0])
    assert struct.unpack(">HHH", quoted[20:26]) == (40000, 443, 13)
    assert len(quoted) == 28


def test_v6_answer():
    packet = port_unreachable(CLIENT6, SERVER6, 5)
    client, server = (socket.inet_pton(socket.AF_INET6, a[0]) for a in (CLIENT6, SERVER6))
    outer, message = packet[:40], packet[40:]
    assert outer[0] >> 4 == 6
    assert outer[6] == socket.IPPROTO_ICMPV6
    assert struct.unpack(">H", outer[4:6])[0] == len(message)
    assert (outer[8:24], outer[24:40]) == (server, client)
    assert message[:2] == bytes([1, 4])
    pseudo = server + client + struct.pack(">II", len(message), socket.IPPROTO_ICMPV6)
    assert checksum(pseudo + message) == 0
    quoted = message[8:]
    assert (quoted[8:24], quoted[24:40]) == (client, server)
    assert struct.unpack(">HHH", quoted[40:46]) == (40000, 443, 13)


def test_scope_is_not_part_of_the_address():
    assert port_unreachable(("fe80::1%2", 1, 0, 2), ("fe80::2%2", 2, 0, 2), 0)[8:24] == (
        socket.inet_pton(socket.AF_INET6, "fe80::2")
    )


class FakeRaw:
    def __init__(self):
        self.sent = []
        self.fails = False
        self.closed = False

    def setsockopt(self, *args):
        pass

    def sendto(self, packet, target):
        if self.fails:
            raise PermissionError(1, "Operation not permitted")
        self.sent.append((packet, target))

    def close(self):
        self.closed = True


@pytest.fixture
def raw(monkeypatch):
    made = []

    def make(family, kind, protocol):
        made.append(FakeRaw())
        return made[-1]

    monkeypatch.setattr(icmp, "SocketType", make)
    return made


def test_rate_limit(raw):
    reactor = SimpleNamespace(now=100.0)
    sender = Unreachable(reactor, rate_per_s=10)
    for _ in range(int(BURST) + 5):
        sender.send(CLIENT4, SERVER4, 5)
    assert (sender.sent, sender.suppressed) == (int(BURST), 5)
    reactor.now += 0.5
    for _ in range(7):
        sender.send(CLIENT4, SERVER4, 5)
    assert sender.sent == int(BURST) + 5
    assert len(raw) == 1
    assert raw[0].sent[0][1] == ("10.1.0.2", 0)


def test_refusal_of_the_kernel_is_counted(raw):
    sender = Unreachable(SimpleNamespace(now=100.0))
    sender.send(CLIENT6, SERVER6, 5)
    raw[0].fails = True
    sender.send(CLIENT6, SERVER6, 5)
    assert (sender.sent, sender.suppressed) == (1, 1)
    sender.close()
    assert raw[0].closed
