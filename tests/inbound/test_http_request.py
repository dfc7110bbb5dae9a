"""What a proxy makes of heads: nothing that is passed on can be read in two ways."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mihomo_tproxy.codec.http1 import ResponseHead, parse_request, parse_response
from mihomo_tproxy.errors import AuthenticationFailed, ProtocolError
from mihomo_tproxy.inbound.http_request import (
    authenticate,
    connect_metadata,
    forward_request,
    forward_response,
)
from mihomo_tproxy.inbound.inbound import address_or_name
from mihomo_tproxy.model.metadata import RequestMetadata

SOURCE = ("192.0.2.9", 4000)


class Inbound:
    """As much of one as heads need."""

    def __init__(self, verify=None):
        self.gate = self
        self._verify = verify

    def verifier(self, host):
        assert host == SOURCE[0]
        return self._verify

    def metadata(self, network, kind, source, host, port, user=b""):
        address, name = address_or_name(host)
        return RequestMetadata(network, kind, *source, address, port, name)


def request(target="http://a.test/", *fields, method="GET", minor=1):
    return parse_request("\r\n".join([f"{method} {target} HTTP/1.{minor}", *fields]).encode())


def forward(*args, **kwargs):
    return forward_request(Inbound(), SOURCE, request(*args, **kwargs), b"")


@pytest.mark.parametrize(
    ("target", "host", "port", "line", "field"),
    [
        ("http://a.test/x?y", "a.test", 80, b"GET /x?y HTTP/1.1", b"Host: a.test"),
        ("http://A.test:8080", "a.test", 8080, b"GET / HTTP/1.1", b"Host: A.test:8080"),
        ("http://u:p@a.test/", "a.test", 80, b"GET / HTTP/1.1", b"Host: a.test"),
        ("http://a.test?q", "a.test", 80, b"GET /?q HTTP/1.1", b"Host: a.test"),
        ("ws://a.test/", "a.test", 80, b"GET / HTTP/1.1", b"Host: a.test"),
        ("HTTP://a.test/#part", "a.test", 80, b"GET / HTTP/1.1", b"Host: a.test"),
    ],
)
def test_origin_form(target, host, port, line, field):
    found = forward(target, "Host: other.test", "host: third.test")
    assert (found.metadata.host, found.metadata.destination_port) == (host, port)
    assert found.wire == line + b"\r\n" + field + b"\r\n\r\n"
    assert not found.upgrade


def test_ipv6():
    found = forward("http://[2001:DB8::1]:81/")
    assert (found.metadata.destination, found.metadata.host) == ("2001:db8::1", "")
    assert b"\r\nHost: [2001:DB8::1]:81\r\n" in found.wire


def test_http_1_0_stays_so_and_does_not_upgrade():
    found = forward("http://a.test/", "Connection: upgrade", "Upgrade: x", minor=0)
    assert found.wire == b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n"
    assert not found.upgrade


def test_upgrade():
    found = forward("http://a.test/", "Connection: keep-alive, Upgrade", "Upgrade: websocket")
    assert found.upgrade
    assert found.wire.endswith(b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert not forward("http://a.test/", "Upgrade: websocket").upgrade


def test_connect():
    found = connect_metadata(Inbound(), SOURCE, request("A.test:443", method="CONNECT"), b"")
    assert (found.inbound, found.host, found.destination_port) == ("HTTPS", "a.test", 443)


def test_authentication():
    asked = []

    def verify(user, password):
        asked.append((user, password))
        return password == b"p"

    good = request("http://a/", "proxy-authorization: basic dTpw")
    assert authenticate(Inbound(), SOURCE, good) == b""
    assert authenticate(Inbound(verify), SOURCE, good) == b"u"
    for head in (request(), request("http://a/", "Proxy-Authorization: Basic dTpx")):
        with pytest.raises(AuthenticationFailed):
            authenticate(Inbound(verify), SOURCE, head)
    assert asked == [(b"u", b"p"), (b"u", b"q")]


def test_responses():
    head = parse_response(
        b"HTTP/1.0 200 Fine\r\nConnection: X\r\nX: 1\r\nProxy-Connection: y\r\nZ: 2"
    )
    assert forward_response(head, close=False) == b"HTTP/1.1 200 Fine\r\nZ: 2\r\n\r\n"
    assert forward_response(head, close=True).endswith(b"Z: 2\r\nConnection: close\r\n\r\n")
    early = ResponseHead(103, "Early Hints", 1, [("Link", "x")])
    assert forward_response(early, close=True) == b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"


_TEXT = st.text(st.characters(max_codepoint=255), max_size=20)
_FIELDS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["Host", "Connection", "Upgrade", "Content-Length", "X", "TE"]), _TEXT
        ).map(": ".join),
        _TEXT,
    ),
    max_size=6,
)


@given(_TEXT, st.sampled_from(["http://", "ws://", ""]), _TEXT, _FIELDS)
def test_what_is_passed_on_is_one_request(method, scheme, target, fields):
    head = "\r\n".join([f"{method or 'GET'} {scheme}{target} HTTP/1.1", *fields]).encode("latin-1")
    try:
        found = forward_request(Inbound(), SOURCE, parse_request(head), b"")
    except ProtocolError:
        return
    assert found.wire.index(b"\r\n\r\n") == len(found.wire) - 4
    again = parse_request(found.wire[:-4])
    assert [name.lower() for name, _ in again.headers].count("host") == 1
    assert again.target.startswith("/")
    assert "proxy-authorization" not in {name.lower() for name, _ in again.headers}
