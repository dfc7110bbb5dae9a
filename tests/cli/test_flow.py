"""Flows as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mihomo_tproxy.cli.flow import Flow, parse_address, parse_flow
from mihomo_tproxy.errors import GatewayError
from mihomo_tproxy.model.enums import Network

TCP, UDP = Network.TCP, Network.UDP


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("tcp 192.0.2.5:9 -> a.test:80", (TCP, "192.0.2.5", 9, "", "a.test", 80)),
        (
            "udp 192.0.2.5:40000 -> [2001:db8::1]:3478",
            (UDP, "192.0.2.5", 40000, "2001:db8::1", "", 3478),
        ),
        (
            "UDP [2001:DB8::5]:1->192.0.2.1:0",
            (UDP, "2001:db8::5", 1, "192.0.2.1", "", 0),
        ),
        ("tcp 2001:db8::5 -> 2001:db8::1", (TCP, "2001:db8::5", 50000, "2001:db8::1", "", 443)),
        ("tcp [2001:db8::5] -> [2001:db8::1]", (TCP, "2001:db8::5", 50000, "2001:db8::1", "", 443)),
        ("-> Example.COM.", (TCP, "192.168.0.2", 50000, "", "example.com", 443)),
        ("-> ::1", (TCP, "fd00::2", 50000, "::1", "", 443)),
        ("192.0.2.5 -> 192.0.2.1:53", (TCP, "192.0.2.5", 50000, "192.0.2.1", "", 53)),
    ],
)
def test_what_is_written(text, found):
    assert parse_flow(text)[:-1] == found


def test_what_is_assumed_is_said():
    assert parse_flow("tcp 192.0.2.5:9 -> a.test:80").assumed == ()
    assert parse_flow("-> a.test").assumed == (
        "tcp", "port 443", "the client 192.168.0.2", "its port 50000",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "a flow is written 'tcp 192.168.1.5 -> example.com:443', found ''"),
        ("a.test", "a flow is written"),
        ("tcp ->", "a flow is written"),
        ("tcp udp -> a.test", "found 'udp' before the arrow|not an IP address: 'udp'"),
        ("tcp 192.0.2.1 443 -> a.test", "found '192.0.2.1 443' before the arrow"),
        ("tcp a.test -> b.test", "not an IP address: 'a.test'"),
        ("-> a.test:http", "not a port: 'http'"),
        ("-> a.test:65536", "not a port: '65536'"),
        ("-> a.test:٣", "not a port"),
        ("-> [::1:443", r"expected \[ADDRESS\]:PORT"),
        ("-> [::1]443", r"expected \[ADDRESS\]:PORT"),
        ("-> a b", "neither an address nor a name: 'a b'"),
        ("-> :443", "neither an address nor a name: ''"),
    ],
)
def test_what_is_no_flow(text, says):
    with pytest.raises(GatewayError, match=says):
        parse_flow(text)


def test_addresses():
    assert parse_address("2001:DB8:0::1") == "2001:db8::1"
    with pytest.raises(GatewayError, match="not an IP address"):
        parse_address("a.test")


@given(st.text(alphabet="tcpud ->[]:.0123456789abé\0", max_size=40))
def test_anything_is_a_flow_or_a_sentence(text):
    try:
        flow = parse_flow(text)
    except GatewayError:
        return
    assert isinstance(flow, Flow)
    assert bool(flow.host) != bool(flow.destination)
    assert parse_flow(str(flow))._replace(assumed=()) == flow._replace(assumed=())
