"""`trojan://PASSWORD@HOST:PORT?...#NAME`, as trojan-go and Xray write it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mihomo_tproxy.provider.links.url import parse_url

if TYPE_CHECKING:
    from mihomo_tproxy.config.yaml import Value
    from mihomo_tproxy.provider.links.names import Names

_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})


def convert(link: str, names: Names) -> dict[str, Value]:
    """The mapping of a link. ValueError if there is none in it."""
    url = parse_url(link)
    query = url.query
    proxy: dict[str, Value] = {
        "name": names.take(url.fragment),
        "type": "trojan",
        "server": url.host,
        "port": url.port,
        "password": url.username,
        "udp": True,
        "skip-cert-verify": query.get("allowInsecure", "") in _TRUE,
        "client-fingerprint": query.get("fp") or "chrome",
    }
    if query.get("sni"):
        proxy["sni"] = query["sni"]
    if query.get("alpn"):
        proxy["alpn"] = [*query["alpn"].split(",")]
    if query.get("pcs"):
        proxy["fingerprint"] = query["pcs"]
    network = query.get("type", "").lower()
    if network:
        proxy["network"] = network
    if network == "ws":
        # `host` has no effect: mihomo's Trojan asks for the TLS name.
        proxy["ws-opts"] = {"path": query.get("path", "")}
    elif network == "grpc":
        proxy["grpc-opts"] = {"grpc-service-name": query.get("serviceName", "")}
    return proxy
