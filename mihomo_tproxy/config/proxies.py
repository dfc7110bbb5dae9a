"""`proxies`: the outbounds of the file. This version builds `direct` and `reject`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mihomo_tproxy.config.interfaces import check_interface
from mihomo_tproxy.config.report import did_you_mean
from mihomo_tproxy.config.schema import ProxySpec
from mihomo_tproxy.config.section import Section, describe

if TYPE_CHECKING:
    from mihomo_tproxy.config.report import Report
    from mihomo_tproxy.config.yaml import Value

BUILT_IN: Final = ("DIRECT", "REJECT", "REJECT-DROP", "GLOBAL")
"""Outbounds that need no entry."""
RESERVED: Final = ("PASS", "COMPATIBLE")
"""mihomo's other built-in outbounds, which this version does not have."""
TYPES: Final = ("direct", "reject")
OTHER_TYPES: Final = frozenset(
    {
        *("anytls", "dns", "gost-relay", "http", "hysteria", "hysteria2", "masque", "mieru"),
        *("openvpn", "rematch", "snell", "socks5", "ss", "ssh", "ssr", "sudoku", "tailscale"),
        *("trojan", "trusttunnel", "tuic", "vless", "vmess", "wireguard"),
    }
)
"""mihomo's types that cannot be built here."""
IP_VERSIONS: Final = ("dual", "ipv4", "ipv6", "ipv4-prefer", "ipv6-prefer")
MAX_MARK: Final = 0xFFFFFFFF

_WITHOUT_EFFECT: Final = ("tfo", "mptcp", "smux")
_UNSUPPORTED: Final = ("dialer-proxy",)


def parse_proxies(section: Section) -> tuple[ProxySpec, ...]:
    """The entries of `proxies` in the top-level section; what is wrong is reported."""
    specs: list[ProxySpec] = []
    names = {*BUILT_IN, *RESERVED}
    for path, value in section.values("proxies"):
        spec = _parse_proxy(section.report, path, value)
        if spec.name in names:
            section.report.problem(path, f"the name {spec.name!r} is already taken")
        elif spec.name:
            names.add(spec.name)
        specs.append(spec)
    return tuple(specs)


def _parse_proxy(report: Report, path: str, value: Value) -> ProxySpec:
    if not isinstance(value, dict):
        report.problem(path, f"expected a mapping, found {describe(value)}")
        return ProxySpec("", "")
    section = Section(report, path, value)
    name = section.text("name")
    kind = section.text("type")
    if not name:
        report.problem(path, "'name' is missing")
    if not _supported(report, path, kind):
        return ProxySpec(name, kind)
    ip_version = section.text("ip-version", "dual").lower()
    if ip_version not in IP_VERSIONS:
        near = did_you_mean(ip_version, IP_VERSIONS)
        section.problem("ip-version", f"expected one of {', '.join(IP_VERSIONS)}{near}")
    spec = ProxySpec(
        name=name,
        type=kind,
        interface_name=parse_interface(section),
        routing_mark=section.integer("routing-mark", 0, 0, MAX_MARK),
        ip_version=ip_version,
        udp=section.boolean("udp", True),
    )
    _warn_rest(section)
    return spec


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


def _supported(report: Report, path: str, kind: str) -> bool:
    if kind in TYPES:
        return True
    if not kind:
        report.problem(path, "'type' is missing")
    elif kind in OTHER_TYPES:
        report.problem(path, f"type {kind!r} is not supported by this version")
    else:
        near = did_you_mean(kind, [*TYPES, *sorted(OTHER_TYPES)])
        report.problem(path, f"unknown type {kind!r}{near}")
    return False


def _warn_rest(section: Section) -> None:
    for key in _UNSUPPORTED:
        if section.take(key):
            section.problem(key, "not supported by this version")
    ignored = [key for key in _WITHOUT_EFFECT if section.take(key) is not None]
    if ignored:
        section.report.warning(section.path, f"ignored: {', '.join(ignored)}")
    section.warn_unknown()
