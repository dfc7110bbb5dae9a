"""TLS and `network` together."""

from __future__ import annotations

import pytest

from mihomo_tproxy.config.proxies.carrier import parse_carrier
from mihomo_tproxy.config.report import Report
from mihomo_tproxy.config.section import Section
from mihomo_tproxy.config.specs.tls import TlsSpec
from mihomo_tproxy.config.specs.transport import H2Spec, HttpSpec, WebSocketSpec
from mihomo_tproxy.config.yaml import load_text


def carried(options: str, server: str = "proxy.test"):
    document = load_text(f"{{{options}}}")
    report = Report(document)
    found = parse_carrier(Section(report, "", document.value), server)
    assert report.problems == []
    return *found, report.warnings


def test_neither() -> None:
    assert carried("network: tcp") == (None, None, [])


def test_tls_alone() -> None:
    tls = TlsSpec(server_name="proxy.test", alpn=("x", "y"))
    assert carried("tls: true, alpn: [x, y]") == (tls, None, [])


@pytest.mark.parametrize(
    ("options", "server", "name"),
    [
        ("", "proxy.test", "proxy.test"),
        ("", "2001:db8::1", "2001:db8::1"),
        ("ws-opts: {headers: {host: front.test}}", "proxy.test", "front.test"),
        ("servername: a.test, ws-opts: {headers: {Host: front.test}}", "proxy.test", "a.test"),
    ],
)
def test_the_name_in_tls_above_which_a_websocket_is(options: str, server: str, name: str) -> None:
    tls, transport, warnings = carried(f"network: ws, tls: true, {options}", server)
    assert isinstance(transport, WebSocketSpec)
    assert tls == TlsSpec(server_name=name, alpn=("http/1.1",))
    assert warnings == []


def test_a_network_has_its_own_alpn() -> None:
    tls, transport, warnings = carried("network: h2, tls: true, alpn: [http/1.1]")
    assert isinstance(transport, H2Spec)
    assert tls.alpn == ("h2",)
    assert warnings == ["line 1: alpn: ignored: h2 has 'h2'"]


def test_http_has_none_of_its_own() -> None:
    tls, transport, _ = carried("network: http, tls: true, alpn: [x]")
    assert isinstance(transport, HttpSpec)
    assert tls.alpn == ("x",)


def test_a_transport_without_tls() -> None:
    tls, transport, _ = carried("network: ws")
    assert tls is None
    assert transport.headers == (("Host", "proxy.test"),)
