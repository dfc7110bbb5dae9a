"""`trojan://`."""

from __future__ import annotations

import pytest

from mihomo_tproxy.provider.links.names import Names
from mihomo_tproxy.provider.links.trojan import convert

PLAIN = {
    "name": "n",
    "type": "trojan",
    "server": "a.test",
    "port": "443",
    "password": "p@w",
    "udp": True,
    "skip-cert-verify": False,
    "client-fingerprint": "chrome",
}


def converted(link: str) -> dict[str, object]:
    return dict(convert(link, Names()))


def test_the_least() -> None:
    assert converted("trojan://p%40w@a.test:443#n") == PLAIN


def test_tls() -> None:
    query = "sni=s.test&alpn=h2,http/1.1&allowInsecure=1&fp=none&pcs=ab&peer=x&security=none"
    assert converted(f"trojan://p%40w:x@a.test:443?{query}#n") == {
        **PLAIN,
        "sni": "s.test",
        "alpn": ["h2", "http/1.1"],
        "skip-cert-verify": True,
        "client-fingerprint": "none",
        "fingerprint": "ab",
    }


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("type=ws&host=h.test&path=%2Fp", {"network": "ws", "ws-opts": {"path": "/p"}}),
        (
            "type=grpc&serviceName=s",
            {"network": "grpc", "grpc-opts": {"grpc-service-name": "s"}},
        ),
        ("type=tcp", {"network": "tcp"}),
    ],
)
def test_networks(query: str, options: dict[str, object]) -> None:
    assert converted(f"trojan://p%40w@a.test:443?{query}#n") == {**PLAIN, **options}
