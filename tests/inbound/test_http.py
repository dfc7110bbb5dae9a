"""HTTP towards clients: CONNECT, passwords, and heads that are refused."""

from __future__ import annotations

import base64

import pytest
from support.inbound import PORT, InboundRig
from support.loopback import both_loops

from mihomo_tproxy.config.specs.listener import AccessSpec
from mihomo_tproxy.inbound.handshake import HANDSHAKE_S

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
ACCESS = AccessSpec(users=(("user", "secret"),))


def connect(rig, *fields, host="127.0.0.1", rest=b""):
    lines = [f"CONNECT {host}:{rig.port} HTTP/1.1", *fields, "", ""]
    return "\r\n".join(lines).encode() + rest


def basic(credentials):
    return "Proxy-Authorization: Basic " + base64.b64encode(credentials.encode()).decode()


def status_of(response):
    return int(response.split(b" ", 2)[1])


@both_loops
def test_connect(loop_factory):
    with InboundRig("http", loop_factory=loop_factory) as rig:
        client = rig.client(connect(rig, f"Host: 127.0.0.1:{rig.port}", rest=b"early"))
        server = rig.accept()
        rig.expect(client, ESTABLISHED)
        rig.expect(server, b"early")
        client.sendall(b"ping")
        rig.expect(server, b"ping")
        server.sendall(b"pong")
        rig.expect(client, b"pong")
        (asked,) = rig.engine.asked
        assert (asked.network, asked.inbound, asked.inbound_name) == ("tcp", "HTTPS", "test-in")
        assert asked.inbound_port == PORT
        assert (asked.destination, asked.host) == ("127.0.0.1", "")


def test_connect_byte_by_byte():
    with InboundRig("http") as rig:
        client = rig.client()
        for byte in connect(rig, "X: y"):
            client.sendall(bytes([byte]))
            rig.turn()
        rig.accept()
        rig.expect(client, ESTABLISHED)


def test_connect_to_a_name():
    with InboundRig("mixed") as rig:
        client = rig.client(connect(rig, host="LocalHost"))
        rig.accept()
        rig.expect(client, ESTABLISHED)
        assert (rig.engine.asked[0].destination, rig.engine.asked[0].host) == ("", "localhost")


def test_connect_to_ipv6():
    with InboundRig("http") as rig:
        client = rig.client(connect(rig, host="[::1]"))
        assert status_of(rig.read_until_end(client)) == 502
        assert rig.engine.asked[0].destination == "::1"


def test_failure_is_told():
    with InboundRig("http") as rig:
        rig.server.close()
        got = rig.read_until_end(rig.client(connect(rig)))
        assert status_of(got) == 502
        assert got.endswith(b"dial-refused\n")


def test_rejection_is_told():
    with InboundRig("http", proxy="REJECT") as rig:
        assert status_of(rig.read_until_end(rig.client(connect(rig)))) == 403


@pytest.mark.parametrize(
    "fields",
    [
        (),
        (basic("user:wrong"),),
        (basic("user"),),
        (basic("other:secret"),),
        ("Proxy-Authorization: Basic !!!",),
        ("Proxy-Authorization: Bearer dXNlcjpzZWNyZXQ=",),
        (basic("user:wrong"), basic("user:secret")),
    ],
)
def test_wrong_passwords(fields):
    with InboundRig("http", access=ACCESS) as rig:
        got = rig.read_until_end(rig.client(connect(rig, *fields)))
        assert status_of(got) == 407
        assert b"\r\nProxy-Authenticate: Basic realm=" in got
        assert rig.tracker.errors == {"http-auth-failed": 1}
        assert rig.engine.asked == []


def test_right_password():
    with InboundRig("http", access=ACCESS) as rig:
        client = rig.client(connect(rig, basic("user:secret")))
        rig.accept()
        rig.expect(client, ESTABLISHED)
        assert rig.engine.asked[0].inbound_user == "user"


@pytest.mark.parametrize(
    ("talk", "status"),
    [
        (b"garbage\r\n\r\n", 400),
        (b"\x00\x01\x02\r\n\r\n", 400),
        (b"GET http://a/ HTTP/1.1\nHost: a\n\n", 400),
        (b"GET /origin-form HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http://a/ HTTP/2.0\r\n\r\n", 400),
        (b"GET http:/// HTTP/1.1\r\n\r\n", 400),
        (b"GET http://a:0/ HTTP/1.1\r\n\r\n", 400),
        (b"CONNECT a HTTP/1.1\r\n\r\n", 400),
        (b"CONNECT a:1 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 400),
        (b"CONNECT :443 HTTP/1.1\r\n\r\n", 400),
        (b"POST http://a/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (
            b"POST http://a/ HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (b"POST http://a/ HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"GET http://a/ HTTP/1.1\r\nX: a\r\n folded\r\n\r\n", 400),
        (b"GET http://a/ HTTP/1.1\r\nX : a\r\n\r\n", 400),
        (b"GET http://a/ HTTP/1.1\r\nX: " + b"a" * 66000 + b"\r\n\r\n", 431),
    ],
)
def test_heads_that_are_refused(talk, status):
    with InboundRig("http") as rig:
        got = rig.read_until_end(rig.client(talk))
        assert status_of(got) == status
        assert sum(rig.tracker.errors.values()) == 1
        assert rig.engine.asked == []
        assert rig.reactor.crashes == 0


def test_a_head_without_end_is_refused():
    with InboundRig("http") as rig:
        client = rig.client(b"GET http://a/ HTTP/1.1\r\n")
        line = b"X: " + b"a" * 1000 + b"\r\n"
        for _ in range(70):
            client.sendall(line)
            rig.turn()
        assert status_of(rig.read_until_end(client)) == 431


def test_half_a_head_is_given_up():
    with InboundRig("http") as rig:
        client = rig.client(b"GET http://a/ HT")
        rig.turn(0.02)
        rig.later(HANDSHAKE_S + 1)
        with pytest.raises(ConnectionResetError):
            rig.read_until_end(client)
        assert rig.tracker.errors == {"handshake-timeout": 1}
