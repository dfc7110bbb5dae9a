"""`type: vless`."""

from __future__ import annotations

import pytest
from support.refusing import complaints

from mihomo_tproxy.config import parse
from mihomo_tproxy.config.specs.tls import TlsSpec
from mihomo_tproxy.config.specs.transport import GrpcSpec
from mihomo_tproxy.config.specs.vless import VlessSpec

UUID = "b831381d-6324-4d53-ad4f-8cda48b30811"
SERVER = f"name: v, type: vless, server: proxy.test, port: 443, uuid: {UUID}"


def parsed(options: str) -> tuple[VlessSpec, tuple[str, ...]]:
    config = parse(f"proxies: [{{{SERVER}, {options}}}]")
    (spec,) = config.proxies
    assert isinstance(spec, VlessSpec)
    return spec, config.warnings


def test_the_least() -> None:
    spec = VlessSpec(
        name="v",
        type="vless",
        server="proxy.test",
        port=443,
        udp=False,
        uuid=bytes.fromhex(UUID.replace("-", "")),
        packet_encoding="xudp",
    )
    assert parsed("") == (spec, ())


def test_all_that_goes_together() -> None:
    spec, warnings = parsed(
        "udp: true, tls: true, servername: a.test, alpn: [h2], network: grpc, flow: '', "
        "encryption: none, skip-cert-verify: true, grpc-opts: {grpc-service-name: x}"
    )
    assert warnings == ()
    assert spec.udp
    assert spec.tls == TlsSpec(server_name="a.test", alpn=("h2",), skip_cert_verify=True)
    assert spec.transport == GrpcSpec(service_name="x")


@pytest.mark.parametrize(
    ("options", "encoding"),
    [
        ("packet-encoding: xudp", "xudp"),
        ("packet-encoding: ''", "xudp"),
        ("xudp: true", "xudp"),
        ("xudp: true, packet-addr: true", "xudp"),
        ("packet-addr: false", "xudp"),
        ("xudp: false, packet-encoding: xudp", "xudp"),
        ("packet-addr: true", "packetaddr"),
        ("packet-encoding: packetaddr", "packetaddr"),
        ("packet-encoding: packet, xudp: true", "packetaddr"),
        ("xudp: false, packet-addr: true", "packetaddr"),
        ("xudp: false", ""),
    ],
)
def test_packet_encoding(options: str, encoding: str) -> None:
    spec, warnings = parsed(options)
    assert warnings == ()
    assert spec.packet_encoding == encoding


def test_an_unknown_packet_encoding_is_mihomos_default() -> None:
    spec, (warning,) = parsed("packet-encoding: none")
    assert spec.packet_encoding == "xudp"
    assert "packet-encoding: unknown encoding 'none'" in warning


@pytest.mark.parametrize("options", ["ws-headers: {a: b}", "xhttp-opts: {path: /}"])
def test_what_has_no_effect_is_named(options: str) -> None:
    _, (warning,) = parsed(options)
    assert warning.endswith(f"{options.partition(':')[0]}: ignored")


@pytest.mark.parametrize(
    ("entry", "path", "says"),
    [
        (SERVER.partition(", uuid")[0], "proxies[0]", "'uuid' is missing"),
        (f"{SERVER}, flow: xtls-rprx-vision", "proxies[0].flow", "the server must allow no flow"),
        (f"{SERVER}, flow: xtls-rprx-vision-udp443", "proxies[0].flow", "not supported"),
        (f"{SERVER}, flow: xtls-rprx-direct", "proxies[0].flow", "unknown flow"),
        (f"{SERVER}, encryption: mlkem768x25519plus.native", "proxies[0].encryption", "'none'"),
        (f"{SERVER}, network: xhttp", "proxies[0].network", "not supported"),
        (
            f"{SERVER}, tls: true, reality-opts: {{public-key: x}}",
            "proxies[0].reality-opts",
            "REALITY is not supported",
        ),
    ],
)
def test_refused(entry: str, path: str, says: str) -> None:
    (problem,) = complaints(f"proxies:\n  - {{{entry}}}\n")
    assert (problem.path, problem.line) == (path, 2)
    assert says in problem.message
