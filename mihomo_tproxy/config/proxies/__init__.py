"""`proxies`: the outbounds of the file, each read by the module of its type.

An entry that is right, but asks for what this version does not have (a type, REALITY, a plugin), is
left out with a warning, so that the rest of the file can be used: groups go without it, and who
leads to it alone is told why that is impossible.

Such a module has `parse(section, common)`: it takes its keys from the section and returns its spec,
made of `common` (the fields every entry has, by name) and its own.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final, NamedTuple

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


class Proxies(NamedTuple):
    """The entries of `proxies`."""

    written: tuple[ProxySpec, ...]
    """All of them, each in its place."""
    left_out: dict[str, str]
    """Name -> a sentence that says why there is no such proxy here."""

    @property
    def kept(self) -> tuple[ProxySpec, ...]:
        """Those that can be built."""
        return tuple(spec for spec in self.written if spec.name not in self.left_out)


def parse_proxies(section: Section) -> Proxies:
    """The entries of `proxies` in the top-level section; what is wrong is reported."""
    report = section.report
    specs: list[ProxySpec] = []
    left_out: dict[str, str] = {}
    names = {*BUILT_IN, *RESERVED}
    for path, value in section.values("proxies"):
        before = len(report.problems)
        spec = parse_proxy(report, path, value)
        reason = report.leave_out(spec.name, before)
        if spec.name in names:
            report.problem(path, f"the name {spec.name!r} is already taken")
        elif spec.name:
            names.add(spec.name)
            if reason:
                left_out[spec.name] = reason
        specs.append(spec)
    _leave_out_dialers(report, specs, left_out)
    return Proxies(tuple(specs), left_out)


def _leave_out_dialers(report: Report, specs: list[ProxySpec], left_out: dict[str, str]) -> None:
    """Who dials through what is left out is so, too."""
    through: dict[str, list[int]] = {}
    for place, spec in enumerate(specs):
        through.setdefault(spec.dialer_proxy, []).append(place)
    waiting = list(left_out)
    while waiting:
        dialer = waiting.pop()
        for place in through.get(dialer, ()):
            name = specs[place].name
            if name and name not in left_out:
                left_out[name] = reason = f"its dialer-proxy {dialer!r} is left out"
                report.warning(f"proxies[{place}].dialer-proxy", f"{name!r} is left out: {reason}")
                waiting.append(name)


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
        report.lack(path, f"type {kind!r} is not supported by this version")
    else:
        near = did_you_mean(kind, [*TYPES, *sorted(OTHER_TYPES)])
        report.problem(path, f"unknown type {kind!r}{near}")
    return False
