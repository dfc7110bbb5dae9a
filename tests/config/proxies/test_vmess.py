"""`type: vmess`."""

from __future__ import annotations

import pickle
from uuid import UUID, uuid5

import pytest
from support.refusing import complaints

from mihomo_tproxy.config import parse
from mihomo_tproxy.config.specs.tls import TlsSpec
from mihomo_tproxy.config.specs.transport import GrpcSpec, H2Spec, HttpSpec, WebSocketSpec
from mihomo_tproxy.config.specs.vmess import VmessSpec
from mihomo_tproxy.errors import ConfigError

USER = "b831381d-6324-4d53-ad4f-8cda48b30811"
SERVER = "name: v, type: vmess, server: proxy.test, port: 443"


def entry(options: str, user: str = USER) -> str:
    return f"proxies: [{{{SERVER}, uuid: {user}, {options}}}]"


def parsed(options: str) -> VmessSpec:
    config = parse(entry(options))
    assert config.warnings == ()
    (spec,) = config.proxies
    assert isinstance(spec, VmessSpec)
    return spec


def refused(options: str) -> str:
    (problem,) = complaints(entry(options))
    return str(problem)


def test_the_least() -> None:
    spec = parsed("cipher: auto, alterId: 0")
    assert spec == VmessSpec(
        name="v", type="vmess", server="proxy.test", port=443, udp=False, uuid=UUID(USER).bytes
    )
    assert pickle.loads(pickle.dumps(spec)) == spec  # noqa: S301
    assert USER not in repr(spec)


@pytest.mark.parametrize("cipher", ["auto", "aes-128-gcm", "chacha20-poly1305", "none", "ZERO"])
def test_ciphers(cipher: str) -> None:
    assert parsed(f"cipher: {cipher}").cipher == cipher.lower()


def test_body_options() -> None:
    spec = parsed("global-padding: true, authenticated-length: 'yes'")
    assert spec.global_padding
    assert spec.authenticated_length


@pytest.mark.parametrize(
    ("options", "encoding"),
    [
        ("", ""),
        ("packet-encoding: ''", ""),
        ("packet-encoding: xudp", "xudp"),
        ("packet-encoding: packetaddr", "packetaddr"),
        ("packet-encoding: packet", "packetaddr"),
        ("packet-addr: true", "packetaddr"),
        ("xudp: true", "xudp"),
        ("xudp: true, packet-addr: true", "xudp"),
        ("packet-encoding: packetaddr, xudp: true", "xudp"),
        ("packet-encoding: xudp, packet-addr: true", "xudp"),
    ],
)
def test_packet_encodings(options: str, encoding: str) -> None:
    assert parsed(options).packet_encoding == encoding


def test_a_text_for_a_user() -> None:
    config = parse(entry("", user="somebody"))
    (spec,) = config.proxies
    assert isinstance(spec, VmessSpec)
    assert spec.uuid == uuid5(UUID(int=0), "somebody").bytes
    (warning,) = config.warnings
    assert "not a UUID" in str(warning)
    assert "somebody" not in str(warning)


def test_a_user_is_needed() -> None:
    with pytest.raises(ConfigError, match="'uuid' is missing"):
        parse(f"proxies: [{{{SERVER}}}]")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("alterId: 64", "only 0"),
        ("alterId: x", "whole number"),
        ("cipher: aes-128-cfb", "before AEAD"),
        ("cipher: aes-128-gmc", "did you mean 'aes-128-gcm'"),
        ("packet-encoding: xdup", "did you mean 'xudp'"),
        ("network: quic", "'quic'"),
        ("tls: true, reality-opts: {public-key: x}", "REALITY"),
    ],
)
def test_what_is_refused(options: str, message: str) -> None:
    assert message in refused(options)


def test_tls() -> None:
    assert parsed("tls: true").tls == TlsSpec(server_name="proxy.test")
    spec = parsed("tls: true, servername: front.test, alpn: [h3], skip-cert-verify: true")
    assert spec.tls == TlsSpec(server_name="front.test", alpn=("h3",), skip_cert_verify=True)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ("", "proxy.test"),
        ("ws-opts: {headers: {Host: front.test}}", "front.test"),
        ("ws-opts: {headers: {host: 'front.test:8443'}}", "front.test"),
        ("ws-opts: {headers: {Host: '[2001:db8::1]:8443'}}", "2001:db8::1"),
        ("ws-opts: {headers: {Host: front.test}}, servername: sni.test", "sni.test"),
    ],
)
def test_websocket(options: str, name: str) -> None:
    spec = parsed(f"network: ws, tls: true, {options}")
    assert isinstance(spec.transport, WebSocketSpec)
    assert spec.tls == TlsSpec(server_name=name, alpn=("http/1.1",))


def test_transports_without_tls() -> None:
    assert isinstance(parsed("network: ws").transport, WebSocketSpec)
    assert isinstance(parsed("network: http").transport, HttpSpec)
    spec = parsed("network: grpc, grpc-opts: {grpc-service-name: x}")
    assert (spec.transport, spec.tls) == (GrpcSpec(service_name="x"), None)


def test_grpc() -> None:
    spec = parsed("network: grpc, tls: true")
    assert spec.tls == TlsSpec(server_name="proxy.test", alpn=("h2",))


@pytest.mark.parametrize("tls", ["", "tls: false", "tls: true"])
def test_h2_is_never_without_tls(tls: str) -> None:
    spec = parsed(f"network: h2, {tls}")
    assert isinstance(spec.transport, H2Spec)
    assert spec.tls == TlsSpec(server_name="proxy.test", alpn=("h2",))


def test_tls_keys_without_tls() -> None:
    (warning,) = parse(entry("servername: front.test")).warnings
    assert "no effect" in str(warning)
