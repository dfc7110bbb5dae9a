"""Links of SOCKS5 and HTTP proxies."""

from __future__ import annotations

from base64 import b64encode

import pytest

from mihomo_tproxy.provider.links.names import Names
from mihomo_tproxy.provider.links.plain import convert


def converted(link: str) -> dict[str, object]:
    return dict(convert(link, Names()))


@pytest.mark.parametrize("scheme", ["socks", "socks5", "socks5h", "SOCKS5"])
def test_socks(scheme: str) -> None:
    assert converted(f"{scheme}://us:pw@a.test:1#n") == {
        "name": "n",
        "type": "socks5",
        "server": "a.test",
        "port": "1",
        "username": "us",
        "password": "pw",
    }


def test_https() -> None:
    proxy = converted("https://a.test:1")
    assert proxy["type"] == "http"
    assert proxy["tls"] is proxy["skip-cert-verify"] is True
    assert proxy["name"] == "a.test:1"
    assert "tls" not in converted("http://a.test:1")


@pytest.mark.parametrize(
    ("user_info", "username", "password"),
    [
        (b64encode(b"us:pw").decode(), "us", "pw"),
        ("u%40s:p%3Aw", "u%40s", "p%3Aw"),
        ("us:pw:x", "us", "pw%3Ax"),
        ("us-er", "us-er", ""),
        ("", "", ""),
    ],
)
def test_credentials_as_mihomo_takes_them(user_info: str, username: str, password: str) -> None:
    proxy = converted(f"socks5://{user_info}@a.test:1")
    assert (proxy["username"], proxy["password"]) == (username, password)


@pytest.mark.parametrize("link", ["socks5://a.test", "socks5://:1", "https://a.test/sub"])
def test_no_proxy(link: str) -> None:
    with pytest.raises(ValueError, match=r"no (host|port)"):
        convert(link, Names())
