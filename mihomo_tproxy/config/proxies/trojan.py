"""`type: trojan`: wiki.metacubex.one/config/proxies/trojan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mihomo_tproxy.config.proxies.common import parse_server
from mihomo_tproxy.config.proxies.tls import parse_tls
from mihomo_tproxy.config.proxies.transport import parse_transport
from mihomo_tproxy.config.section import Section
from mihomo_tproxy.config.specs.transport import GrpcSpec, WebSocketSpec
from mihomo_tproxy.config.specs.trojan import TrojanSpec

if TYPE_CHECKING:
    from mihomo_tproxy.config.specs.transport import TransportSpec

NETWORKS: Final = ("ws", "grpc")


def parse(section: Section, common: dict[str, Any]) -> TrojanSpec:
    """The entry."""
    server = parse_server(section)
    name = section.text("sni") or server["server"]
    if not (password := section.text("password")):
        section.report.problem(section.path, "'password' is missing")
    _refuse_shadowsocks(section)
    transport = parse_transport(section, name, NETWORKS)
    tls = parse_tls(section, server["server"], default_alpn=_default_alpn(transport))
    return TrojanSpec(**common, **server, password=password, tls=tls, transport=transport)


def _default_alpn(transport: TransportSpec | None) -> tuple[str, ...]:
    if isinstance(transport, WebSocketSpec):
        return ("http/1.1",)
    if isinstance(transport, GrpcSpec):
        return ("h2",)
    return ("h2", "http/1.1")


def _refuse_shadowsocks(section: Section) -> None:
    """trojan-go's second encryption inside TLS: the server would not understand us without."""
    value = section.take("ss-opts")
    if value is None:
        return
    options = Section(section.report, section.where("ss-opts"), value)
    if options.boolean("enabled", False):
        section.lack("ss-opts", "Shadowsocks within Trojan is not supported by this version")
