"""What carries a proxy's protocol."""

from __future__ import annotations

from mihomo_tproxy.codec.layer import Layer
from mihomo_tproxy.config.specs.tls import TlsSpec
from mihomo_tproxy.config.specs.transport import GrpcSpec, WebSocketSpec
from mihomo_tproxy.transport.carrier import Carrier, carrier_of, carrier_to
from mihomo_tproxy.transport.tls import TlsLayer
from mihomo_tproxy.transport.websocket import WebSocketLayer


def test_plain_tcp_has_no_layers():
    assert Carrier().layers() == []
    assert carrier_of(None).layers() == []


def test_tls_below_the_transport():
    carrier = carrier_of(TlsSpec(server_name="proxy.test"), Layer)
    assert [type(layer) for layer in carrier.layers()] == [TlsLayer, Layer]


def test_every_connection_has_its_own():
    carrier = carrier_of(None, Layer)
    (first,), (second,) = carrier.layers(), carrier.layers()
    assert first is not second


def test_a_network_goes_by_the_name_in_tls():
    tls = TlsSpec(server_name="front.test", alpn=("h2",))
    assert carrier_to("proxy.test", 443, None, None).layers() == []
    websocket = WebSocketSpec(headers=(("Host", "proxy.test"),))
    layers = carrier_to("proxy.test", 443, tls, websocket).layers()
    assert [type(layer) for layer in layers] == [TlsLayer, WebSocketLayer]
    for spec, name in ((tls, b"front.test"), (None, b"proxy.test:8443")):
        layer = carrier_to("proxy.test", 8443, spec, GrpcSpec()).layers()[-1]
        layer.begin()
        assert name in bytes(layer.output) + bytes(layer.seal(b"x"))
