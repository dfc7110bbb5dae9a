"""`proxies`: the outbounds of the file, each read by the module of its type.

Such a module has `parse(section, common)`: it takes its keys from the section and returns its spec,
made of `common` (the fields every entry has, by name) and its own.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.config.proxies.common import parse_common
from mihomo_tproxy.config.report import did_you_mean
from mihomo_tproxy.config.section import Section, describe
from mihomo_tproxy.config.specs.base import ProxySpec

if TYPE_CHECKING:
    from mihomo_tproxy.config.report import Report
    from mihomo_tproxy.config.yaml import Value

BUILT_IN: Final = ("DIRECT", "REJECT", "REJECT-DROP", "PASS", "PASS-RULE", "COMPATIBLE")
"""Outbounds that need no entry."""
RESERVED: Final = ("GLOBAL",)
"""Names of groups that are made here."""
TYPES: Final = {
    "direct": "direct",
    "reject": "direct",
    "http": "http",
    "socks5": "socks5",
    "ss": "shadowsocks",
    "trojan": "trojan",
    "vless": "vless",
    "vmess": "vmess",
}
"""Type -> the module that reads it."""
OTHER_TYPES: Final = frozenset(
    {
        *("anytls", "dns", "gost-relay", "hysteria", "hysteria2", "masque", "mieru"),
        *("openvpn", "rematch", "snell", "ssh", "ssr", "sudoku", "tailscale"),
        *("trusttunnel", "tuic", "wireguard"),
    }
)
"""mihomo's types that cannot be built here."""

_WITHOUT_EFFECT: Final = ("mptcp", "smux")


def parse_proxies(section: Section) -> tuple[ProxySpec, ...]:
    """The entries of `proxies` in the top-level section; what is wrong is reported."""
    specs: list[ProxySpec] = []
    names = {*BUILT_IN, *RESERVED}
    for path, value in section.values("proxies"):
        spec = parse_proxy(section.report, path, value)
        if spec.name in names:
            section.report.problem(path, f"the name {spec.name!r} is already taken")
        elif spec.name:
            names.add(spec.name)
        specs.append(spec)
    return tuple(specs)


def parse_proxy(report: Report, path: str, value: Value) -> ProxySpec:
    """One entry, which stands at `path`; what is wrong is reported."""
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
    module = import_module(f"{__name__}.{TYPES[kind]}")
    spec: ProxySpec = module.parse(section, parse_common(section, name, kind))
    ignored = [key for key in _WITHOUT_EFFECT if section.take(key) is not None]
    if ignored:
        report.warning(path, f"ignored: {', '.join(ignored)}")
    section.warn_unknown()
    return spec


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
