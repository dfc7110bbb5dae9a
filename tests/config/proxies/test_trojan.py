"""`type: trojan`."""

from __future__ import annotations

import pytest
from support.refusing import complaints

from mihomo_tproxy.config import parse
from mihomo_tproxy.config.specs.tls import TlsSpec
from mihomo_tproxy.config.specs.transport import GrpcSpec, WebSocketSpec
from mihomo_tproxy.config.specs.trojan import TrojanSpec

SERVER = "name: t, type: trojan, server: proxy.test, port: 443, password: secret"


def parsed(options: str) -> TrojanSpec:
    config = parse(f"proxies: [{{{SERVER}, {options}}}]")
    (spec,) = config.proxies
    assert isinstance(spec, TrojanSpec)
    assert config.warnings == ()
    return spec


def test_the_least() -> None:
    assert parsed("udp: true") == TrojanSpec(
        name="t",
        type="trojan",
        server="proxy.test",
        port=443,
        udp=True,
        password="secret",  # noqa: S106
        tls=TlsSpec(server_name="proxy.test", alpn=("h2", "http/1.1")),
    )


def test_udp_is_off_by_default() -> None:
    assert not parsed("sni: a.test").udp


def test_websocket() -> None:
    spec = parsed("network: ws, sni: front.test, ws-opts: {path: /x}")
    assert isinstance(spec.transport, WebSocketSpec)
    assert ("Host", "front.test") in spec.transport.headers
    assert spec.tls == TlsSpec(server_name="front.test", alpn=("http/1.1",))


def test_grpc() -> None:
    spec = parsed("network: grpc, grpc-opts: {grpc-service-name: x}")
    assert spec.transport == GrpcSpec(service_name="x")
    assert spec.tls.alpn == ("h2",)


def test_alpn_is_as_told() -> None:
    assert parsed("network: ws, alpn: [x]").tls.alpn == ("x",)
    assert parsed("alpn: []").tls.alpn == ()


def test_second_encryption_that_is_off() -> None:
    assert parsed("ss-opts: {enabled: false, method: aes-128-gcm, password: x}") == parsed("")


@pytest.mark.parametrize(
    ("entry", "path", "says"),
    [
        (SERVER.replace(", password: secret", ""), "proxies[0]", "'password' is missing"),
        (SERVER.replace(", port: 443", ""), "proxies[0]", "'port' is missing"),
        (f"{SERVER}, network: h2", "proxies[0].network", "not supported"),
        (f"{SERVER}, ss-opts: {{enabled: true}}", "proxies[0].ss-opts", "Shadowsocks within"),
        (f"{SERVER}, reality-opts: {{public-key: x}}", "proxies[0].reality-opts", "REALITY"),
        (f"{SERVER}, fingerprint: x", "proxies[0].fingerprint", "SHA-256"),
    ],
)
def test_refused(entry: str, path: str, says: str) -> None:
    (problem,) = complaints(f"proxies:\n  - {{{entry}}}\n")
    assert (problem.path, problem.line) == (path, 2)
    assert says in problem.message
