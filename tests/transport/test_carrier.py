"""What carries a proxy's protocol."""

from __future__ import annotations

from mihomo_tproxy.codec.layer import Layer
from mihomo_tproxy.config.specs.tls import TlsSpec
from mihomo_tproxy.transport.carrier import Carrier, carrier_of
from mihomo_tproxy.transport.tls import TlsLayer


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
