"""CONNECT through an HTTP proxy, played by the test on loopback."""

from __future__ import annotations

import pytest
from support.loopback import RelayRig
from support.proxies import Sink, accept, built, receive, use

from mihomo_tproxy.config.specs.http import HttpProxySpec
from mihomo_tproxy.errors import LocalProtocolError

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


def http(rig: RelayRig, **options):
    host, port = rig.destination
    outbound = built(rig, HttpProxySpec("h", "http", server=host, port=port, **options)).get("h")
    assert outbound is not None
    return outbound


def request(rig: RelayRig, *fields: str) -> bytes:
    authority = "{}:{}".format(*rig.destination)
    lines = (f"CONNECT {authority} HTTP/1.1", f"Host: {authority}", *fields, "", "")
    return "\r\n".join(lines).encode()


def test_a_flow_both_ways_to_its_ends():
    with RelayRig() as rig:
        credentials = {"username": "Aladdin", "password": "open sesame"}
        use(rig, http(rig, **credentials, headers=(("A", "b"),)))
        client = rig.connect()
        client.sendall(b"early")
        proxy = accept(rig)
        expected = request(rig, "A: b", "Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
        assert receive(rig, proxy, len(expected)) == expected
        proxy.sendall(ESTABLISHED + b"first")
        assert receive(rig, client, 5) == b"first"
        assert receive(rig, proxy, 5) == b"early"
        data = bytes(range(256)) * 2048
        rig.in_thread(lambda: proxy.sendall(data))
        assert receive(rig, client, len(data)) == data
        client.shutdown(1)
        rig.in_thread(lambda: proxy.recv(1))
        proxy.close()
        rig.turn_until(lambda: not rig.tracker.tcp_live)
        assert rig.tracker.errors == {}


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "http-auth-failed"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nno!", "http-unreachable"),
        (b"\x05\xff", "http-bad-head"),
        (b"", "handshake-closed"),
    ],
)
def test_a_proxy_that_does_not_let_us_through(said: bytes, cause: str):
    with RelayRig() as rig:
        use(rig, http(rig))
        client = rig.connect()
        proxy = accept(rig)
        receive(rig, proxy, len(request(rig)))
        if said:
            proxy.sendall(said)
        else:
            proxy.close()
        rig.turn_until(lambda: not rig.tracker.tcp_live)
        assert rig.tracker.errors == {cause: 1}
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_a_proxy_that_stalls():
    with RelayRig() as rig:
        use(rig, http(rig))
        rig.connect()
        proxy = accept(rig)
        receive(rig, proxy, len(request(rig)))
        proxy.sendall(ESTABLISHED[:-1])
        rig.turn(0.01)
        rig.later(10.0)
        assert rig.tracker.errors == {"handshake-timeout": 1}


def test_no_datagrams():
    with RelayRig() as rig:
        assert http(rig).open_udp(Sink()) is None


def test_a_host_that_cannot_be_named():
    with RelayRig() as rig, pytest.raises(LocalProtocolError):
        http(rig).route("a b", 80)
