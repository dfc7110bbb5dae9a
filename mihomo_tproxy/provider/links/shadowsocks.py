"""`ss://`: SIP002 (shadowsocks.org/doc/sip002.html), and the older form that is base64 whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.provider.links.url import (
    decode_base64,
    decode_raw_base64,
    decode_url_base64,
    parse_query,
    parse_url,
)

if TYPE_CHECKING:
    from mihomo_tproxy.config.yaml import Value
    from mihomo_tproxy.provider.links.names import Names
    from mihomo_tproxy.provider.links.url import Url


def convert(link: str, names: Names) -> dict[str, Value]:
    """The mapping of a link. ValueError if there is none in it."""
    url = parse_url(link)
    name = names.take(url.fragment)
    if not url.port:
        url = parse_url("ss://" + decode_raw_base64(url.authority))
    cipher, password = _credentials(url)
    proxy: dict[str, Value] = {
        "name": name,
        "type": "ss",
        "server": url.host,
        "port": url.port,
        "cipher": cipher,
        "password": password,
        "udp": True,
    }
    if url.query.get("udp-over-tcp") == "true" or url.query.get("uot") == "1":
        proxy["udp-over-tcp"] = True
    proxy.update(_plugin(url.query.get("plugin", "")))
    return proxy


def _credentials(url: Url) -> tuple[str, str]:
    if url.password is not None:
        return url.username, url.password
    try:
        text = decode_url_base64(url.username)
    except ValueError:
        text = decode_base64(url.username)
    cipher, colon, password = text.partition(":")
    if not colon:
        raise ValueError("no method and password")
    return cipher, password


def _plugin(text: str) -> dict[str, Value]:
    """SIP003's `name;key=value;...`; a plugin without options is left out, as mihomo does it."""
    if ";" not in text:
        return {}
    options = parse_query("name=" + text.replace(";", "&"))
    name = options.get("name", "")
    if "obfs" in name:
        mode, host = options.get("obfs", ""), options.get("obfs-host", "")
        return {"plugin": "obfs", "plugin-opts": {"mode": mode, "host": host}}
    if "v2ray-plugin" in name:
        return {
            "plugin": "v2ray-plugin",
            "plugin-opts": {
                "mode": options.get("mode") or options.get("obfs", ""),
                "host": options.get("host") or options.get("obfs-host", ""),
                "path": options.get("path", ""),
                "tls": "tls" in text,
            },
        }
    return {}
