"""What entries of `proxies` have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mihomo_tproxy.config.interfaces import check_interface
from mihomo_tproxy.config.report import did_you_mean

if TYPE_CHECKING:
    from mihomo_tproxy.config.section import Section

IP_VERSIONS: Final = ("dual", "ipv4", "ipv6", "ipv4-prefer", "ipv6-prefer")
MAX_MARK: Final = 0xFFFFFFFF
MAX_PORT: Final = 65535
_UDP_BY_DEFAULT: Final = ("direct", "reject")


def parse_common(section: Section, name: str, kind: str) -> dict[str, Any]:
    """The fields of `ProxySpec`, by name."""
    ip_version = section.text("ip-version", "dual").lower()
    if ip_version not in IP_VERSIONS:
        near = did_you_mean(ip_version, IP_VERSIONS)
        section.problem("ip-version", f"expected one of {', '.join(IP_VERSIONS)}{near}")
    return {
        "name": name,
        "type": kind,
        "interface_name": parse_interface(section),
        "routing_mark": section.integer("routing-mark", 0, 0, MAX_MARK),
        "ip_version": ip_version,
        "udp": section.boolean("udp", kind in _UDP_BY_DEFAULT),
        "tfo": section.boolean("tfo", False),
        "dialer_proxy": section.text("dialer-proxy"),
    }


def parse_server(section: Section) -> dict[str, Any]:
    """The fields of `ServerSpec`, by name."""
    server = section.text("server")
    if not server:
        section.report.problem(section.path, "'server' is missing")
    if section.take("port") is None:
        section.report.problem(section.path, "'port' is missing")
    if server.startswith("[") and server.endswith("]"):
        server = server[1:-1]
    return {"server": server, "port": section.integer("port", 1, 1, MAX_PORT)}


def parse_interface(section: Section) -> str:
    """The `interface-name` of a section, "" when absent or wrong."""
    name = section.text("interface-name")
    if not name:
        return ""
    try:
        return check_interface(name)
    except ValueError as error:
        section.problem("interface-name", str(error))
        return ""
