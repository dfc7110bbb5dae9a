"""`vmess://`: v2rayN's JSON in base64 (version 2 in its wiki), or a URL as VLESS has it."""

from __future__ import annotations

import re
from json import JSONDecoder
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from mihomo_tproxy.provider.links.share import EARLY_HEADER, convert_share
from mihomo_tproxy.provider.links.url import decode_base64, parse_query, parse_url

if TYPE_CHECKING:
    from mihomo_tproxy.config.yaml import Value
    from mihomo_tproxy.provider.links.names import Names

MAX_BRACKETS: Final = 64
"""Brackets that a JSON text may open, those in names included; v2rayN's is flat."""

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def convert(link: str, names: Names) -> dict[str, Value]:
    """The mapping of a link. ValueError if there is none in it."""
    try:
        text = decode_base64(link.partition("://")[2])
    except ValueError:
        return _convert_url(link, names)
    values = _parse_json(text)
    name = values.get("ps")
    if not isinstance(name, str):
        raise ValueError("no name ('ps')")
    proxy: dict[str, Value] = {
        "name": names.take(name),
        "type": "vmess",
        "server": values.get("add"),
        "port": values.get("port"),
        "uuid": values.get("id"),
        "alterId": values.get("aid", 0),
        "udp": True,
        "xudp": True,
        "cipher": _text(values, "scy") or "auto",
    }
    if _text(values, "sni"):
        proxy["servername"] = values["sni"]
    if _text(values, "tls").lower().endswith("tls"):
        proxy["tls"] = True
        # An empty `alpn`, which v2rayN writes, would be a protocol without a name.
        if _text(values, "alpn"):
            proxy["alpn"] = [*_text(values, "alpn").split(",")]
    proxy.update(_network(values))
    return proxy


def _convert_url(link: str, names: Names) -> dict[str, Value]:
    url = parse_url(link)
    proxy = convert_share(url, "vmess", names)
    proxy["alterId"] = 0
    proxy["cipher"] = url.query.get("encryption") or "auto"
    return proxy


def _parse_json(text: str) -> dict[str, Value]:
    """The object at the beginning; what comes after it is not looked at."""
    text = text.lstrip(" \t\r\n")
    if text.count("{") + text.count("[") > MAX_BRACKETS:
        raise ValueError("JSON that is nested")
    values = JSONDecoder().raw_decode(text)[0]
    if not isinstance(values, dict):
        raise ValueError("JSON, yet no object")
    return {key: _whole(value) for key, value in values.items()}


def _whole(value: Value) -> Value:
    """A value without halves of characters, which JSON can escape and UTF-8 cannot hold."""
    return _SURROGATE.sub("\ufffd", value) if isinstance(value, str) else value


def _text(values: dict[str, Value], key: str) -> str:
    value = values.get(key)
    return value if isinstance(value, str) else ""


def _network(values: dict[str, Value]) -> dict[str, Value]:
    if not isinstance(values.get("net"), str):
        return {}
    network = _text(values, "net").lower()
    if values.get("type") == "http":
        network = "http"
    elif network == "http":
        network = "h2"
    host, path = _text(values, "host"), _text(values, "path")
    if network == "http":
        options: dict[str, Value] = {"path": [path or "/"]}
        if host:
            options["headers"] = {"Host": [host]}
        return {"network": network, "http-opts": options}
    if network == "h2":
        options = {"path": path or "/"}
        if host:
            options["host"] = [host]
        return {"network": network, "h2-opts": options}
    if network in ("ws", "httpupgrade"):
        upgrade = network == "httpupgrade"
        return {"network": "ws", "ws-opts": _websocket(host, path or "/", upgrade=upgrade)}
    if network == "grpc":
        return {"network": network, "grpc-opts": {"grpc-service-name": values.get("path")}}
    return {"network": network}


def _websocket(host: str, path: str, *, upgrade: bool) -> dict[str, Value]:
    """Xray's httpupgrade is a WebSocket to mihomo, whose links of it end up as bare TCP."""
    options: dict[str, Value] = {"headers": {"Host": host}} if host else {}
    if upgrade:
        options["v2ray-http-upgrade"] = True
    base, mark, text = path.partition("?")
    query = parse_query(text) if mark else {}
    early = query.get("ed", "")
    if early.isascii() and early.isdigit():
        if upgrade:
            options["v2ray-http-upgrade-fast-open"] = True
        else:
            options["max-early-data"] = int(early[:9])
            options["early-data-header-name"] = EARLY_HEADER
        rest = urlencode(sorted((key, value) for key, value in query.items() if key != "ed"))
        path = f"{base}?{rest}" if rest else base
    if query.get("eh"):
        options["early-data-header-name"] = query["eh"]
    options["path"] = path
    return options
