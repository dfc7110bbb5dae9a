"""From causes to the words of each protocol."""

from __future__ import annotations

import pytest

from mihomo_tproxy.codec.http1 import parse_response
from mihomo_tproxy.inbound.answers import (
    ConnectAnswer,
    PlainAnswer,
    Socks4Answer,
    Socks5Answer,
    http_error,
)


@pytest.mark.parametrize(
    ("cause", "socks5", "http"),
    [
        ("rejected", 2, 403),
        ("dial-refused", 5, 502),
        ("socks5-refused", 5, 502),
        ("dial-unreachable", 4, 502),
        ("dial-timeout", 6, 504),
        ("handshake-timeout", 6, 504),
        ("flow-limit", 1, 503),
        ("dial-no-descriptor", 1, 503),
        ("no-outbound", 1, 502),
        ("trojan-bad-response", 1, 502),
    ],
)
def test_refusals(cause, socks5, http):
    assert Socks5Answer(b"").refused(cause) == bytes([5, socks5, 0, 1]) + bytes(6)
    assert Socks4Answer(b"").refused(cause) == bytes([0, 91]) + bytes(6)
    for answer in (ConnectAnswer(b""), PlainAnswer()):
        head, _, body = answer.refused(cause).partition(b"\r\n\r\n")
        found = parse_response(head)
        assert found.status == http
        assert body == f"{cause}\n".encode()
        assert ("Content-Length", str(len(body))) in found.headers
        assert ("Connection", "close") in found.headers


def test_acceptance():
    assert Socks5Answer(b"x").accepted() == bytes.fromhex("05000001") + bytes(6)
    assert Socks4Answer(b"x").accepted() == bytes([0, 90]) + bytes(6)
    assert ConnectAnswer(b"x").accepted() == b"HTTP/1.1 200 Connection established\r\n\r\n"
    assert PlainAnswer().accepted() == b""
    assert (Socks5Answer(b"x").early, PlainAnswer().early) == (b"x", b"")


@pytest.mark.parametrize(
    ("cause", "status"),
    [("http-bad-head", 400), ("http-head-too-large", 431), ("http-auth-failed", 407)],
)
def test_errors(cause, status):
    found = parse_response(http_error(cause).partition(b"\r\n\r\n")[0])
    assert found.status == status
    asks = [value for name, value in found.headers if name == "Proxy-Authenticate"]
    assert asks == (['Basic realm="mihomo-tproxy", charset="UTF-8"'] if status == 407 else [])
