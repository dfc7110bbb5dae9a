"""Where clients come in: mihomo's port keys, `listeners`, and the short form `inbound`.

mixed-port: 7890                      # also port, socks-port, redir-port, tproxy-port
allow-lan: true                       # false: these ports are on loopback only
bind-address: "*"
listeners:
  - {name: guests, type: socks, port: 1080, listen: 0.0.0.0, users: [], proxy: DIRECT}
inbound: {mixed: {listen: "0.0.0.0:7890", udp: true}}

An entry of `listeners` that asks for what this version does not have is left out with a warning.
Invariant: no two of the listeners that come out of here want the same address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mihomo_tproxy.config.access import parse_users
from mihomo_tproxy.config.proxies.common import MAX_MARK, MAX_PORT
from mihomo_tproxy.config.report import did_you_mean
from mihomo_tproxy.config.section import Section, describe, scalar_text
from mihomo_tproxy.config.specs.listener import ListenerSpec, ListenerType
from mihomo_tproxy.model.address import address_key, address_text

if TYPE_CHECKING:
    from mihomo_tproxy.config.report import Report
    from mihomo_tproxy.config.rules import Targets
    from mihomo_tproxy.config.yaml import Value

ANY_V4: Final = "0.0.0.0"  # noqa: S104 - what the file asks for
ANY_V6: Final = "::"
LOOPBACK: Final = ("127.0.0.1", "::1")
MAX_PORTS: Final = 256
"""Ports of one listener."""
OTHER_TYPES: Final = frozenset(
    {
        *("anytls", "hysteria2", "mieru", "shadowsocks", "snell", "sudoku", "trojan"),
        *("trusttunnel", "tuic", "tun", "tunnel", "vless", "vmess", "xhttp"),
    }
)
"""mihomo's types that cannot be built here."""

_PORT_KEYS: Final = {
    "port": ListenerType.HTTP,
    "socks-port": ListenerType.SOCKS,
    "mixed-port": ListenerType.MIXED,
    "redir-port": ListenerType.REDIR,
    "tproxy-port": ListenerType.TPROXY,
}
_WITH_USERS: Final = (ListenerType.HTTP, ListenerType.SOCKS, ListenerType.MIXED)
_WITH_UDP: Final = (ListenerType.SOCKS, ListenerType.MIXED, ListenerType.TPROXY)
_TLS_KEYS: Final = (
    *("certificate", "private-key", "client-auth-type", "client-auth-cert", "ech-key"),
    *("reality-config", "tlsmirror-config"),
)
_WORDS: Final = [str(kind) for kind in ListenerType]


def parse_listeners(
    section: Section, targets: Targets, *, allow_lan: bool, bind_address: str
) -> tuple[ListenerSpec, ...]:
    """Every listener of the top-level section, each with a proxy of `targets` or none; what is
    wrong is reported."""
    found = _port_keys(section, allow_lan=allow_lan, bind_address=bind_address)
    names: set[str] = set()
    for path, value in section.values("listeners"):
        if not isinstance(value, dict):
            section.report.problem(path, f"expected a mapping, found {describe(value)}")
            continue
        entry = Section(section.report, path, value)
        before = len(section.report.problems)
        specs = _parse_entry(entry, targets)
        if section.report.leave_out(scalar_text(value.get("name")) or "", before):
            continue
        if specs and specs[0].name in names:
            section.report.problem(path, f"the name {specs[0].name!r} is already taken")
        names.update(spec.name for spec in specs)
        found += specs
    found += _parse_inbound(section.report, section.take("inbound"))
    _check_clashes(section.report, found)
    return tuple(found)


def _port_keys(section: Section, *, allow_lan: bool, bind_address: str) -> list[ListenerSpec]:
    hosts: tuple[str, ...]
    if not allow_lan:
        hosts = LOOPBACK
    elif bind_address == "*":
        hosts = (ANY_V4, ANY_V6)
    else:
        hosts = (bind_address,)
    found = []
    for key, kind in _PORT_KEYS.items():
        port = section.integer(key, 0, 0, MAX_PORT)
        if port:
            name = f"DEFAULT-{kind.upper()}"
            found.append(ListenerSpec(key, name, kind, hosts, port, guarded=allow_lan))
    return found


def _parse_entry(section: Section, targets: Targets) -> list[ListenerSpec]:
    """One entry of `listeners`: a listener for each of its ports."""
    name, kind = section.text("name"), _kind(section)
    if not name:
        section.report.problem(section.path, "'name' is missing")
    ports = parse_ports(section)
    hosts = _hosts(section, "listen", section.text("listen", ANY_V4) or ANY_V4)
    proxy = section.text("proxy")
    if proxy in targets.left_out:
        section.lack("proxy", f"its proxy {proxy!r} is left out")
    elif proxy and proxy not in targets.names:
        near = did_you_mean(proxy, targets.names)
        section.problem("proxy", f"there is no proxy {proxy!r}{near}")
    elif proxy and kind is ListenerType.TPROXY:
        section.lack("proxy", "not supported for listeners of type tproxy by this version")
    if section.text("rule"):
        section.lack("rule", "rules of a listener's own are not supported by this version")
    mark = section.integer("routing-mark", 0, 0, MAX_MARK)
    users = _users(section, kind)
    udp = section.boolean("udp", True) if kind in _WITH_UDP else False
    if kind in _WITH_USERS:
        for key in [key for key in _TLS_KEYS if section.take(key)]:
            section.lack(key, "TLS towards clients is not supported by this version")
    if kind is None:
        return []
    section.warn_unknown()
    if not hosts:
        return []
    return [
        ListenerSpec(section.path, name, kind, hosts, port, udp, users, users is None, proxy, mark)
        for port in ports
    ]


def _users(section: Section, kind: ListenerType | None) -> tuple[tuple[str, str], ...] | None:
    return parse_users(section) if kind in _WITH_USERS else None


def _kind(section: Section) -> ListenerType | None:
    text = section.text("type")
    if text in _WORDS:
        return ListenerType(text)
    if not text:
        section.report.problem(section.path, "'type' is missing")
    elif text in OTHER_TYPES:
        section.lack("type", f"listeners of type {text!r} are not supported by this version")
    else:
        near = did_you_mean(text, [*_WORDS, *sorted(OTHER_TYPES)])
        section.problem("type", f"unknown listener type {text!r}{near}")
    return None


def parse_ports(section: Section) -> list[int]:
    """`port` as mihomo reads it: a number, or numbers and ranges: `200,204,401-429`."""
    text = scalar_text(section.take("port")) or ""
    if not text:
        section.report.problem(section.path, "'port' is missing")
        return []
    ports: dict[int, None] = {}
    for part in text.replace("/", ",").split(","):
        first, dash, last = (each.strip() for each in part.partition("-"))
        low, high = _port(first), _port(last) if dash else _port(first)
        if not low or not high or low > high:
            section.problem("port", f"not a port or a range of ports: {part.strip()!r}")
            return []
        if len(ports) + high - low >= MAX_PORTS:
            section.problem("port", f"more than {MAX_PORTS} ports")
            return []
        ports.update(dict.fromkeys(range(low, high + 1)))
    return list(ports)


def _port(text: str) -> int:
    """The number, 0 when it is no port."""
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        return 0
    return int(text) if int(text) <= MAX_PORT else 0


def _hosts(section: Section, key: str, text: str) -> tuple[str, ...]:
    """The addresses behind one: `::` stands for both families, as in Go."""
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    if text == "*":
        return (ANY_V4, ANY_V6)
    try:
        host = address_text(address_key(text))
    except ValueError as error:
        section.problem(key, f"expected an address: {error}")
        return ()
    return (ANY_V4, ANY_V6) if host == ANY_V6 else (host,)


def _parse_inbound(report: Report, value: Value) -> list[ListenerSpec]:
    """The block `inbound`: one listener of each type at most, with address and port in one."""
    block = Section(report, "inbound", value)
    found = []
    for kind in ListenerType:
        entry = block.take(kind)
        if entry is None:
            continue
        section = Section(report, block.where(kind), entry)
        host, _, port = section.text("listen").rpartition(":")
        hosts = _hosts(section, "listen", host or "*")
        udp = section.boolean("udp", True) if kind in _WITH_UDP else False
        users = _users(section, kind)
        section.warn_unknown()
        if not _port(port):
            section.problem("listen", "expected an address and a port, as in 0.0.0.0:7890")
        elif hosts:
            found.append(
                ListenerSpec(
                    section.path, str(kind), kind, hosts, int(port), udp, users, users is None
                )
            )
    block.warn_unknown()
    return found


def _check_clashes(report: Report, found: list[ListenerSpec]) -> None:
    for place, spec in enumerate(found):
        for other in found[:place]:
            if spec.port == other.port and _overlap(spec.hosts, other.hosts):
                report.problem(spec.path, f"port {spec.port} is taken by {other.path}")
                break


def _overlap(some: tuple[str, ...], others: tuple[str, ...]) -> bool:
    return any(
        one == other or ((":" in one) == (":" in other) and {one, other} & {ANY_V4, ANY_V6})
        for one in some
        for other in others
    )
