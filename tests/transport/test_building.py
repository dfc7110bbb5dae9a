"""Each transport's configuration gives its layer, with the request it asks for."""

from __future__ import annotations

import pytest

from mihomo_tproxy.config.specs.transport import GrpcSpec, H2Spec, HttpSpec, WebSocketSpec
from mihomo_tproxy.transport.building import transport_factory
from mihomo_tproxy.transport.grpc import GrpcLayer
from mihomo_tproxy.transport.h2 import H2Layer
from mihomo_tproxy.transport.http import HttpLayer
from mihomo_tproxy.transport.httpupgrade import HttpUpgradeLayer
from mihomo_tproxy.transport.websocket import WebSocketLayer


@pytest.mark.parametrize(
    ("spec", "kind", "ready", "says"),
    [
        (WebSocketSpec("/p"), WebSocketLayer, False, b"GET /p HTTP/1.1\r\n"),
        (WebSocketSpec("/p", max_early_data=1), WebSocketLayer, True, b"GET /peA HTTP/1.1\r\n"),
        (WebSocketSpec("/p", http_upgrade=True), HttpUpgradeLayer, False, b"GET /p HTTP/1.1\r\n"),
        (
            WebSocketSpec("/p", http_upgrade=True, http_upgrade_fast_open=True),
            HttpUpgradeLayer,
            True,
            b"GET /p HTTP/1.1\r\n",
        ),
        (HttpSpec("PUT"), HttpLayer, True, b"PUT / HTTP/1.1\r\n"),
        (H2Spec(("h2.example",)), H2Layer, True, b"h2.example"),
        (GrpcSpec("Svc"), GrpcLayer, True, b"sn.example:8443"),
    ],
)
def test_layers(spec, kind: type, ready: bool, says: bytes) -> None:
    make = transport_factory(spec, "sn.example", 8443, tls=False)
    layer, other = make(), make()
    assert type(layer) is kind
    assert layer is not other
    layer.begin()
    assert layer.ready is ready
    assert says in layer.output + bytes(layer.seal(b"x") if ready else b"")


def test_scheme() -> None:
    for spec in (H2Spec(("a",)), GrpcSpec()):
        plain = bytes(transport_factory(spec, "a", 443, tls=False)().seal(b""))
        secure = bytes(transport_factory(spec, "a", 443, tls=True)().seal(b""))
        assert (b"\x86" in plain, b"\x87" in secure) == (True, True)
        assert plain != secure
