"""What links of VLESS and of VMess have in common: github.com/XTLS/Xray-core/discussions/716."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mihomo_tproxy.config.yaml import Value
    from mihomo_tproxy.provider.links.names import Names
    from mihomo_tproxy.provider.links.url import Url

EARLY_HEADER: Final = "Sec-WebSocket-Protocol"


def convert_share(url: Url, kind: str, names: Names) -> dict[str, Value]:
    """The mapping of a link of type `kind`. ValueError if there is none in it."""
    query = url.query
    name = names.take(url.fragment)
    if not url.host:
        raise ValueError("no host")
    if not url.port:
        raise ValueError("no port")
    proxy: dict[str, Value] = {
        "name": name,
        "type": kind,
        "server": url.host,
        "port": url.port,
        "uuid": url.username,
        "udp": True,
        **_security(query),
    }
    encoding = query.get("packetEncoding")
    if encoding == "packet":
        proxy["packet-addr"] = True
    elif encoding != "none":
        proxy["xudp"] = True
    proxy.update(_network(query))
    return proxy


def _security(query: dict[str, str]) -> dict[str, Value]:
    options: dict[str, Value] = {}
    security = query.get("security", "").lower()
    if security.endswith("tls") or security == "reality":
        options["tls"] = True
        options["client-fingerprint"] = query.get("fp") or "chrome"
        if query.get("alpn"):
            options["alpn"] = [*query["alpn"].split(",")]
        if query.get("pcs"):
            options["fingerprint"] = query["pcs"]
    if query.get("sni"):
        options["servername"] = query["sni"]
    if query.get("pbk"):
        options["reality-opts"] = {"public-key": query["pbk"], "short-id": query.get("sid", "")}
    return options


def _network(query: dict[str, str]) -> dict[str, Value]:
    network = query.get("type", "").lower() or "tcp"
    if query.get("headerType", "").lower() == "http":
        network = "http"
    elif network == "http":
        network = "h2"
    if network == "http":
        return {"network": network, "http-opts": _http(query)}
    if network == "h2":
        return {"network": network, "h2-opts": _h2(query)}
    if network in ("ws", "httpupgrade"):
        return {"network": "ws", "ws-opts": _websocket(query, upgrade=network == "httpupgrade")}
    if network == "grpc":
        service = query.get("serviceName", "")
        return {"network": network, "grpc-opts": {"grpc-service-name": service}}
    return {"network": "xhttp" if network == "splithttp" else network}


def _http(query: dict[str, str]) -> dict[str, Value]:
    options: dict[str, Value] = {"path": [query.get("path") or "/"]}
    if query.get("method"):
        options["method"] = query["method"]
    if query.get("host"):
        options["headers"] = {"Host": [query["host"]]}
    return options


def _h2(query: dict[str, str]) -> dict[str, Value]:
    options: dict[str, Value] = {"path": query.get("path") or "/"}
    if query.get("host"):
        options["host"] = [query["host"]]
    return options


def _websocket(query: dict[str, str], *, upgrade: bool) -> dict[str, Value]:
    """Xray's httpupgrade is a WebSocket to mihomo, whose links of it end up as bare TCP."""
    options: dict[str, Value] = {}
    if query.get("path"):
        options["path"] = query["path"]
    if query.get("host"):
        options["headers"] = {"Host": query["host"]}
    early = query.get("ed", "")
    if early and not (early.isascii() and early.isdigit()):
        raise ValueError("'ed' is no number")
    if upgrade:
        options["v2ray-http-upgrade"] = True
        options["v2ray-http-upgrade-fast-open"] = bool(early)
        return options
    if early:
        options["max-early-data"] = int(early[:9])
        options["early-data-header-name"] = EARLY_HEADER
    if query.get("eh"):
        options["early-data-header-name"] = query["eh"]
    return options
