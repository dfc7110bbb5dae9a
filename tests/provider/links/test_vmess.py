"""`vmess://`."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode

import pytest

from mihomo_tproxy.provider.links.names import Names
from mihomo_tproxy.provider.links.vmess import convert

PLAIN = {
    "name": "n",
    "type": "vmess",
    "server": "a.test",
    "port": "443",
    "uuid": "id",
    "alterId": "0",
    "udp": True,
    "xudp": True,
    "cipher": "auto",
    "network": "tcp",
}
LEAST = {"ps": "n", "add": "a.test", "port": "443", "id": "id", "aid": "0", "net": "tcp"}


def link(values: object, tail: str = "") -> str:
    return "vmess://" + b64encode((json.dumps(values) + tail).encode()).decode()


def converted(**values: object) -> dict[str, object]:
    return dict(convert(link({**LEAST, **values}), Names()))


def test_the_least() -> None:
    assert converted() == PLAIN


def test_spellings() -> None:
    assert convert(link(LEAST).rstrip("="), Names()) == PLAIN
    assert convert(link(LEAST, "garbage"), Names()) == PLAIN


def test_url_safe_base64_is_no_such_link() -> None:
    body = urlsafe_b64encode(json.dumps({**LEAST, "ps": "✓✓ÿÿ??>>"}, ensure_ascii=False).encode())
    with pytest.raises(ValueError, match="no port"):
        convert("vmess://" + body.decode(), Names())


def test_values_as_they_come() -> None:
    assert converted(port=443, aid=1)["port"] == 443
    assert convert(link({"ps": "n"}), Names())["alterId"] == 0
    assert "network" not in convert(link({"ps": "n", "type": "http"}), Names())
    assert converted(scy=5)["cipher"] == "auto"
    assert converted(scy="none")["cipher"] == "none"


def test_tls() -> None:
    assert converted(tls="tls", sni="s.test", alpn="h2,x", fp="chrome") == {
        **PLAIN,
        "tls": True,
        "servername": "s.test",
        "alpn": ["h2", "x"],
    }
    assert "alpn" not in converted(tls="tls", alpn="")
    assert "tls" not in converted(tls="none")


EARLY = {"max-early-data": 50, "early-data-header-name": "XX"}


@pytest.mark.parametrize(
    ("values", "network", "options"),
    [
        ({"net": "ws"}, "ws", {"path": "/"}),
        (
            {"net": "ws", "host": "h.test", "path": "/p?x=1&ed=50&eh=XX"},
            "ws",
            {"headers": {"Host": "h.test"}, "path": "/p?eh=XX&x=1", **EARLY},
        ),
        ({"net": "ws", "host": ["a"], "path": "/p?ed=x"}, "ws", {"path": "/p?ed=x"}),
        (
            {"net": "httpupgrade", "path": "/p?ed=50"},
            "ws",
            {"path": "/p", "v2ray-http-upgrade": True, "v2ray-http-upgrade-fast-open": True},
        ),
        (
            {"type": "http", "host": "h.test", "path": "/p"},
            "http",
            {"path": ["/p"], "headers": {"Host": ["h.test"]}},
        ),
        ({"net": "http", "host": "h.test"}, "h2", {"path": "/", "host": ["h.test"]}),
        ({"net": "grpc", "path": "s"}, "grpc", {"grpc-service-name": "s"}),
    ],
)
def test_networks(values: dict[str, object], network: str, options: dict[str, object]) -> None:
    proxy = converted(**values)
    assert proxy["network"] == network
    assert proxy[f"{network}-opts"] == options


def test_url() -> None:
    url = "vmess://id@a.test:443?encryption=none#n"
    assert convert(url, Names()) == {**PLAIN, "alterId": 0, "cipher": "none"}


@pytest.mark.parametrize(
    "values", [[], 5, {}, {"ps": 5}, {"ps": [[[]]] * 40}, "x" * 9, {"ps": None}]
)
def test_no_proxy(values: object) -> None:
    with pytest.raises(ValueError, match=r"JSON|ps"):
        convert(link(values), Names())


def test_halves_of_characters() -> None:
    assert converted(ps="\ud800x")["name"] == "�x"
    assert converted(ps="\U0001f600")["name"] == "\U0001f600"
