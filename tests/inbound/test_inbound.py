"""The first byte decides; hosts as clients write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.inbound import PORT, InboundRig

from mihomo_tproxy.errors import ProtocolError, RemoteProtocolError
from mihomo_tproxy.inbound.inbound import address_or_name
from mihomo_tproxy.model.address import address_key
from mihomo_tproxy.model.enums import InboundType, Network


def connect4(port):
    return b"\x04\x01" + port.to_bytes(2, "big") + b"\x7f\x00\x00\x01\x00"


def connect5(port):
    return b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01" + port.to_bytes(2, "big")


def connect_http(port):
    return b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n" % port


@pytest.mark.parametrize(
    ("talk", "answer"),
    [(connect4, b"\0\x5a"), (connect5, b"\x05\x00\x05\x00"), (connect_http, b"HTTP/1.1 200")],
)
def test_a_mixed_port_speaks_everything(talk, answer):
    with InboundRig("mixed") as rig:
        client = rig.client(talk(rig.port))
        rig.accept()
        rig.expect(client, answer)


@pytest.mark.parametrize("kind", ["http", "socks", "mixed"])
@pytest.mark.parametrize(
    "garbage", [b"\x00", b"\xff" * 70000, b"\x16\x03\x01\x02\x00\x01", b"\r\n" * 40000, b"\x05\xff"]
)
def test_garbage_costs_nobody_else_anything(kind, garbage):
    with InboundRig(kind) as rig:
        client = rig.client()
        client.setblocking(False)
        try:
            client.send(garbage)
        except (BlockingIOError, ConnectionResetError):
            pass
        rig.turn(0.01)
        client.close()
        rig.turn_until(lambda: rig.tracker.errors != {})
        rig.client((connect5 if kind == "socks" else connect_http)(rig.port))
        rig.accept()
        assert rig.reactor.crashes == 0
        assert rig.tracker.tcp_live == 1


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("192.0.2.1", ("192.0.2.1", "")),
        ("2001:DB8::0001", ("2001:db8::1", "")),
        ("::ffff:192.0.2.1", ("192.0.2.1", "")),
        ("Example.COM.", ("", "example.com")),
        ("host1", ("", "host1")),
        ("1.2.3", ("", "1.2.3")),
    ],
)
def test_hosts(host, found):
    assert address_or_name(host) == found


@pytest.mark.parametrize("host", ["", ".", "a b", "a\0", "ü", "a\n"])
def test_no_hosts(host):
    with pytest.raises(RemoteProtocolError):
        address_or_name(host)


@given(st.text(max_size=20))
def test_any_host(text):
    try:
        address, name = address_or_name(text)
    except ProtocolError:
        return
    assert bool(address) != bool(name)
    if address:
        address_key(address)


def test_a_flow_knows_its_listener():
    with InboundRig("mixed") as rig:
        source = ("192.0.2.1", 5)
        metadata = rig.inbound.metadata(
            Network.TCP, InboundType.SOCKS5, source, "a.example", 80, b"me"
        )
        assert metadata.inbound_port == PORT
        assert (metadata.inbound_name, metadata.inbound_user) == (rig.spec.name, "me")
