"""What links of VLESS and VMess have in common."""

from __future__ import annotations

import pytest

from mihomo_tproxy.provider.links.names import Names
from mihomo_tproxy.provider.links.share import convert_share
from mihomo_tproxy.provider.links.url import parse_url

PLAIN = {
    "name": "n",
    "type": "vless",
    "server": "a.test",
    "port": "443",
    "uuid": "id",
    "udp": True,
    "xudp": True,
    "network": "tcp",
}


def converted(query: str) -> dict[str, object]:
    return dict(convert_share(parse_url(f"vless://id@a.test:443?{query}#n"), "vless", Names()))


def test_the_least() -> None:
    assert converted("") == PLAIN


@pytest.mark.parametrize("security", ["tls", "xtls", "TLS"])
def test_tls(security: str) -> None:
    assert converted(f"security={security}&sni=s.test&alpn=h2,x&pcs=ab&allowInsecure=1") == {
        **PLAIN,
        "tls": True,
        "client-fingerprint": "chrome",
        "servername": "s.test",
        "alpn": ["h2", "x"],
        "fingerprint": "ab",
    }


def test_reality() -> None:
    proxy = converted("security=reality&pbk=key&sid=6ba8&fp=firefox")
    assert proxy["tls"] is True
    assert proxy["reality-opts"] == {"public-key": "key", "short-id": "6ba8"}
    assert proxy["client-fingerprint"] == "firefox"


def test_packet_encoding() -> None:
    assert converted("packetEncoding=packet").get("packet-addr") is True
    assert "xudp" not in converted("packetEncoding=packet")
    assert "xudp" not in converted("packetEncoding=none")


EARLY = {"max-early-data": 100, "early-data-header-name": "Sec-WebSocket-Protocol"}


@pytest.mark.parametrize(
    ("query", "network", "options"),
    [
        ("type=ws", "ws", {}),
        (
            "type=WS&host=h.test&path=%2Fp%3Fed%3D9&ed=100",
            "ws",
            {"path": "/p?ed=9", "headers": {"Host": "h.test"}, **EARLY},
        ),
        ("type=ws&eh=X", "ws", {"early-data-header-name": "X"}),
        (
            "type=httpupgrade&path=%2Fp&ed=1",
            "ws",
            {"path": "/p", "v2ray-http-upgrade": True, "v2ray-http-upgrade-fast-open": True},
        ),
        (
            "headerType=http&host=h.test&path=%2Fp&method=PUT",
            "http",
            {"path": ["/p"], "method": "PUT", "headers": {"Host": ["h.test"]}},
        ),
        ("type=http&host=h.test&path=%2Fp", "h2", {"path": "/p", "host": ["h.test"]}),
        ("type=grpc&serviceName=s", "grpc", {"grpc-service-name": "s"}),
    ],
)
def test_networks(query: str, network: str, options: dict[str, object]) -> None:
    proxy = converted(query)
    assert proxy["network"] == network
    assert proxy[f"{network}-opts"] == options


def test_networks_without_options() -> None:
    assert converted("type=kcp") == {**PLAIN, "network": "kcp"}
    assert converted("type=splithttp")["network"] == "xhttp"


@pytest.mark.parametrize("link", ["vless://id@a.test#n", "vless://id@:1#n"])
def test_name_is_taken_by_a_link_that_is_bad(link: str) -> None:
    names = Names()
    with pytest.raises(ValueError, match=r"no (host|port)"):
        convert_share(parse_url(link), "vless", names)
    assert names.take("n") == "n-01"


def test_bad_early_data() -> None:
    with pytest.raises(ValueError, match="'ed'"):
        converted("type=ws&ed=x")
