"""Outbounds, groups and the pools of values that the files of the verdict test have in common.

Few distinct values, so that random flows meet random rules, and meet each other in the cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from support.dat import FULL, SUFFIX, cidr, domain, entry
from support.differential.random_rules import CLIENTS

if TYPE_CHECKING:
    from pathlib import Path

V4: Final = tuple(f"198.51.100.{last}" for last in (3, 7, 20, 21, 66, 90, 130, 131, 200, 250))
V6: Final = tuple(f"2001:db8:51::{last:x}" for last in (3, 7, 0x20, 0x21, 0x66, 0x90, 0xC8, 0xFA))
PORTS: Final = (22, 80, 443, 853, 5060, 8080, 8443, 9000)
BANDS: Final = tuple(range(first, first + 8000) for first in (20_000, 28_000, 36_000, 44_000))
"""Source ports; a rule speaks of whole bands, and every flow has a port of its own."""
SOURCES: Final = CLIENTS

HOSTS: Final = {
    "fixed.test": V4[0],
    "six.fixed.test": V6[1],
    "other.example": V4[6],
    "alias.example": "fixed.test",
}
"""Names that the file gives an address, or another name."""
NAMES: Final = {
    "one.test": [V4[1]],
    "two.one.test": [V4[4]],
    "six.example": [V6[0]],
    "both.example": [V6[3], V4[8]],
    "far.two.example": [V4[9]],
}
"""Names that the DNS knows, looked up when a rule asks for the address."""
NOWHERE: Final = "nowhere.test"
"""A name without an address."""

SERVERS: Final = ("P0", "P1", "N0")
WITHOUT_UDP: Final = ("N0",)
_UNCHECKED: Final = {"url": "http://203.0.113.2/", "interval": 0, "max-failed-times": 100_000}

PLAIN: Final[list[dict[str, Any]]] = [
    {"name": "plain", "type": "direct", "udp": True},
    {"name": "streams", "type": "direct", "udp": False},
    {"name": "marked", "type": "direct", "udp": True, "routing-mark": 7},
]
"""Proxies of type direct: the kernel can stand in for the first."""
GROUPS: Final[list[dict[str, Any]]] = [
    {
        "name": "pick",
        "type": "select",
        "proxies": ["DIRECT", "P0", "REJECT-DROP", "PASS", "N0", "plain", "REJECT"],
    },
    {"name": "outer", "type": "select", "proxies": ["pick", "P1", "spread", "leaky", "DIRECT"]},
    {"name": "deaf", "type": "select", "proxies": ["DIRECT", "P0"], "disable-udp": True},
    {
        "name": "spread",
        "type": "load-balance",
        "strategy": "round-robin",
        "proxies": ["DIRECT", "P1"],
        **_UNCHECKED,
    },
    {
        "name": "leaky",
        "type": "load-balance",
        "strategy": "round-robin",
        "proxies": ["PASS", "DIRECT"],
        **_UNCHECKED,
    },
    {"name": "GLOBAL", "type": "select", "proxies": ["DIRECT", "outer", "P0", "deaf", "N0"]},
]
TARGETS: Final = (
    *("DIRECT", "DIRECT", "DIRECT", "REJECT-DROP", "REJECT", "PASS", "COMPATIBLE"),
    *("P0", "P1", "N0", "plain", "streams", "marked"),
    *("pick", "pick", "pick", "outer", "outer", "deaf", "spread", "leaky"),
)
SELECTIONS: Final = (
    *(("pick", member) for member in GROUPS[0]["proxies"]),
    *(("outer", member) for member in GROUPS[1]["proxies"]),
    *(("deaf", member) for member in GROUPS[2]["proxies"]),
)
STEADY: Final = ("DIRECT", "DIRECT", "COMPATIBLE", "plain", "REJECT-DROP", "REJECT", "P0", "P1")
"""Targets that take every flow, whatever is selected."""
KERNEL_DIRECT: Final = frozenset({"DIRECT", "COMPATIBLE", "plain"})
"""What the kernel does as well as the relay."""
DIRECT: Final = frozenset({*KERNEL_DIRECT, "streams", "marked"})

GEOIP: Final = {"aa": ("198.51.100.64/27", "2001:db8:51::/123"), "bb": ("198.51.100.130/31",)}
GEOSITE: Final = {
    "short": ((FULL, "one.test"), (SUFFIX, "fixed.test")),
    "long": ((SUFFIX, "test"),),
}
SETS: Final[dict[str, dict[str, Any]]] = {
    "names": {"behavior": "domain", "payload": ["+.example", "one.test"]},
    "nets": {"behavior": "ipcidr", "payload": ["198.51.100.20/31", "2001:db8:51::c8/128"]},
    "mixed": {
        "behavior": "classical",
        "payload": [
            "DOMAIN-SUFFIX,two.example",
            "IP-CIDR,198.51.100.250/32",
            "AND,((DST-PORT,853),(NETWORK,udp))",
            "SRC-PORT,44000-51999",
        ],
    },
}


def write_geo_data(home: Path) -> None:
    """GEOIP and GEOSITE as files."""
    lists = [entry(code, *map(cidr, prefixes)) for code, prefixes in GEOIP.items()]
    (home / "GeoIP.dat").write_bytes(b"".join(lists))
    lists = [entry(code, *(domain(*each) for each in names)) for code, names in GEOSITE.items()]
    (home / "GeoSite.dat").write_bytes(b"".join(lists))


def sections(servers: list[dict[str, object]], listeners: list[dict[str, Any]]) -> dict[str, Any]:
    """The sections that do not differ between the files."""
    providers = {name: {"type": "inline", **provider} for name, provider in SETS.items()}
    return {
        "ipv6": True,
        "geodata-mode": True,
        "geo-auto-update": False,
        "profile": {"store-selected": False},
        "hosts": HOSTS,
        "listeners": listeners,
        "proxies": [*servers, *PLAIN],
        "proxy-groups": GROUPS,
        "rule-providers": providers,
    }
