"""`ss://`."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode

import pytest

from mihomo_tproxy.provider.links.names import Names
from mihomo_tproxy.provider.links.shadowsocks import convert


def base64(text: str) -> str:
    return b64encode(text.encode()).decode()


def converted(link: str) -> dict[str, object]:
    return dict(convert(link, Names()))


PLAIN = {
    "name": "n",
    "type": "ss",
    "server": "a.test",
    "port": "443",
    "cipher": "aes-128-gcm",
    "password": "p:w",
    "udp": True,
}


@pytest.mark.parametrize(
    "user_info",
    [
        "aes-128-gcm:p%3Aw",
        base64("aes-128-gcm:p:w"),
        base64("aes-128-gcm:p:w").rstrip("="),
        urlsafe_b64encode(b"aes-128-gcm:p:w").decode().rstrip("="),
    ],
)
def test_sip002(user_info: str) -> None:
    assert converted(f"ss://{user_info}@a.test:443#n") == PLAIN


def test_url_safe() -> None:
    user_info = urlsafe_b64encode("none:?>ÿ".encode()).decode().rstrip("=")
    assert converted(f"ss://{user_info}@a.test:443#n")["password"] == "?>ÿ"  # noqa: S105


def test_all_in_base64() -> None:
    whole = base64("aes-128-gcm:p:w@a.test:443").rstrip("=")
    assert converted(f"ss://{whole}#n") == PLAIN


def test_all_in_base64_is_without_padding() -> None:
    with pytest.raises(ValueError, match="padding"):
        convert(f"ss://{base64('none:p@a.test:443')}#n", Names())


def test_name_is_taken_by_a_link_that_is_bad() -> None:
    names = Names()
    with pytest.raises(ValueError, match="method"):
        convert("ss://none@a.test:443#n", names)
    assert names.take("n") == "n-01"


@pytest.mark.parametrize("query", ["uot=1", "udp-over-tcp=true"])
def test_udp_over_tcp(query: str) -> None:
    assert converted(f"ss://none:x@a.test:1/?{query}")["udp-over-tcp"] is True


@pytest.mark.parametrize("name", ["obfs-local", "simple-obfs"])
def test_obfs(name: str) -> None:
    link = f"ss://none:x@a.test:1?plugin={name}%3Bobfs%3Dhttp%3Bobfs-host%3Do.test"
    proxy = converted(link)
    assert proxy["plugin"] == "obfs"
    assert proxy["plugin-opts"] == {"mode": "http", "host": "o.test"}


def test_v2ray_plugin() -> None:
    options = "v2ray-plugin%3Btls%3Bmode%3Dwebsocket%3Bhost%3Dh.test%3Bpath%3D%2Fx"
    proxy = converted(f"ss://none:x@a.test:1?plugin={options}")
    assert proxy["plugin"] == "v2ray-plugin"
    assert proxy["plugin-opts"] == {
        "mode": "websocket",
        "host": "h.test",
        "path": "/x",
        "tls": True,
    }


@pytest.mark.parametrize("plugin", ["obfs-local", "other%3Ba%3Db"])
def test_plugins_left_out(plugin: str) -> None:
    assert "plugin" not in converted(f"ss://none:x@a.test:1?plugin={plugin}")
