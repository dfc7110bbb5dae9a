"""The members of groups, as mihomo 1.19.32 lists them on its API for the same file."""

from __future__ import annotations

import pytest
from support.groups import parsed

OTHERS = """
  - {name: G1, type: select, proxies: [us-1, DIRECT], use: [zeta, beta]}
"""


@pytest.mark.parametrize(
    ("options", "members"),
    [
        ("proxies: [us-1, DIRECT], use: [zeta, beta]", "us-1 DIRECT p-us p-hk q-hk q-us"),
        ("proxies: [us-1], include-all: true", "us-1 Hk-2 alpha hk-1 us-1 q-hk q-us p-us p-hk"),
        ("include-all-proxies: true, filter: hk", "hk-1"),
        (
            "include-all-proxies: true, filter: 'us`(?i)hk', proxies: [DIRECT]",
            "DIRECT Hk-2 hk-1 us-1",
        ),
        ("include-all-providers: true, filter: 'us`hk'", "q-us p-us q-hk p-hk"),
        ("include-all: true, exclude-filter: 'us`alpha'", "Hk-2 hk-1 q-hk p-hk"),
        ("include-all: true, exclude-type: 'http|SOCKS5'", "Hk-2 alpha"),
        ("use: [zeta], filter: nothing", "COMPATIBLE"),
        ("include-all-proxies: true, filter: nothing", "COMPATIBLE"),
        ("proxies: [us-1, hk-1, us-1], filter: hk, exclude-filter: us", "hk-1"),
        (
            "proxies: [us-1, hk-1], include-all-proxies: true, exclude-filter: us",
            "hk-1 Hk-2 alpha hk-1",
        ),
        (
            "proxies: [us-1, hk-1, G1], use: [beta], filter: 'us`hk', exclude-type: http",
            "us-1 q-us G1",
        ),
        ("use: [zeta, zeta]", "p-us p-hk p-us p-hk"),
        ("use: [beta], include-all-providers: true", "q-hk q-us p-us p-hk"),
        ("use: [zeta], include-all-providers: true", "q-hk q-us p-us p-hk"),
        (
            "include-all: true, proxies: [G1, hk-1, REJECT]",
            "G1 hk-1 REJECT Hk-2 alpha hk-1 us-1 q-hk q-us p-us p-hk",
        ),
        ("include-all: true, exclude-filter: '.'", "COMPATIBLE"),
        ("use: [zeta, beta], filter: 'us`hk'", "p-us q-us p-hk q-hk"),
        ("proxies: [hk-1, us-1], use: [zeta], filter: us", "hk-1 us-1 p-us"),
        (
            "proxies: [alpha, hk-1, us-1], include-all-proxies: true, filter: 'us`hk'",
            "alpha hk-1 us-1 hk-1 us-1",
        ),
        ("proxies: [alpha, hk-1, us-1, hk-1], filter: 'us`hk'", "alpha hk-1 us-1 hk-1"),
        (
            "proxies: [alpha, hk-1, us-1, hk-1], use: [zeta], filter: 'us`hk'",
            "us-1 p-us hk-1 p-hk alpha",
        ),
        (
            "proxies: [G1, alpha, DIRECT, REJECT, us-1, PASS, Hk-2],"
            " exclude-type: 'selector|direct|PASS|ss'",
            "REJECT us-1 Hk-2",
        ),
        ("proxies: [G1, us-1, Hk-2], exclude-type: ' Socks5| Shadowsocks'", "G1 us-1 Hk-2"),
        ("proxies: [us-1, hk-1], exclude-filter: 'us` hk'", "hk-1"),
        ("include-all: true, filter: nothing, empty-fallback: REJECT", "REJECT"),
        ("proxies: [us-1], exclude-filter: us, empty-fallback: hk-1", "hk-1"),
        ("include-all-proxies: true, use: [zeta], filter: 'p-`hk'", "p-us p-hk hk-1"),
        ("include-all: true, filter: 'hk`us'", "hk-1 q-hk p-hk us-1 q-us p-us"),
        ("include-all-proxies: true, filter: 'hk`1$`-'", "Hk-2 hk-1 hk-1 hk-1 us-1 us-1"),
        (
            "include-all-proxies: true, filter: us, include-all-providers: true",
            "us-1 q-us p-us",
        ),
    ],
)
def test_members_are_mihomos(options, members):
    groups, report = parsed(f"{OTHERS}  - {{name: G, type: select, {options}}}")
    assert report.problems == []
    assert " ".join(groups[1].members) == members
