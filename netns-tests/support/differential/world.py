"""What all files of the differential test have in common: outbounds, groups, and known geo data."""

from __future__ import annotations

from typing import Any, Final

PROXIES: Final = ("P0", "P1", "P2", "P3", "P4", "P5", "N0", "N1")
WITHOUT_UDP: Final = ("N0", "N1")
"""Proxies with `udp: false`."""

_DEAD: Final = {"url": "http://203.0.113.2:1/", "interval": 0}
"""Health checks that nobody answers, and that nobody makes by himself."""

GROUPS: Final[list[dict[str, Any]]] = [
    {"name": "select", "type": "select", "proxies": ["P3", "P0", "DIRECT"]},
    {"name": "nested", "type": "select", "proxies": ["select", "P1"]},
    {"name": "passing", "type": "select", "proxies": ["PASS", "P1"]},
    {"name": "compatible", "type": "select", "proxies": ["COMPATIBLE", "P1"]},
    {"name": "streams", "type": "select", "proxies": ["P4"], "disable-udp": True},
    {"name": "deeper", "type": "select", "proxies": ["streams", "P1"]},
    {"name": "fallback", "type": "fallback", "proxies": ["P5", "P2"], **_DEAD},
    {"name": "url-test", "type": "url-test", "proxies": ["N1", "P2"], **_DEAD},
    {"name": "balance", "type": "load-balance", "proxies": ["P0", "P5"], **_DEAD},
    {"name": "filtered", "type": "select", "include-all-proxies": True, "filter": "^N"},
]

MEMBERS: Final = {"balance": frozenset({"P0", "P5"})}
"""Groups of which only the membership of the answer is compared."""

GEOSITES: Final = {
    "google": ("www.google.com", "google.com", "agoogle.com"),
    "GitHub": ("github.com", "api.github.com", "github.community.test"),
    "baidu": ("www.baidu.com", "baidu.com", "baidu.test"),
    "google@cn": ("google.cn", "www.google.com", "adservice.google.com"),
    "category-ads-all": ("adservice.google.com", "pagead2.googlesyndication.com"),
    "cn": ("www.qq.com", "taobao.com", "example.cn", "example.cnn"),
    "telegram": ("t.me", "web.telegram.org", "x.t.me", "telegram.test"),
}
"""Lists, and names within and without."""

GEOIPS: Final = {
    "CN": ("114.114.114.114", "223.5.5.5", "240e::1", "1.1.1.1"),
    "tw": ("168.95.1.1", "2001:b000:168::1", "8.8.8.8"),
    "JP": ("133.11.0.1", "133.255.255.255", "8.8.4.4"),
    "LAN": ("10.1.2.3", "172.31.255.255", "172.32.0.0", "192.168.200.1", "169.254.3.3"),
    "private": ("100.64.0.1", "198.18.0.1", "10.0.0.1", "11.0.0.0"),
    "telegram": ("91.108.4.1", "149.154.167.99", "91.109.0.1"),
    "ZZ": ("8.8.8.8",),
}

ASNS: Final = {
    "15169": ("8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", "9.9.9.9"),
    "13335": ("1.1.1.1", "104.16.0.1", "2606:4700::1111", "1.2.3.4"),
    "4134": ("202.96.128.86", "114.114.114.114"),
}

PASSING: Final = frozenset({"PASS", "passing"})
WITHOUT_DATAGRAMS: Final = frozenset(
    {*WITHOUT_UDP, "streams", "deeper", "url-test", "filtered"},
)
"""Targets that a UDP flow passes over."""
