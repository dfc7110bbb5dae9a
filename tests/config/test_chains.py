"""Circles over groups and `dialer-proxy`, and what becomes of a provider's proxies in one."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.groups import parsed

from mihomo_tproxy.config import parse
from mihomo_tproxy.config.chains import check_chains, circles, shortest_circle
from mihomo_tproxy.config.report import Report
from mihomo_tproxy.config.specs.base import ProxySpec
from mihomo_tproxy.config.specs.group import GroupSpec, GroupType
from mihomo_tproxy.config.yaml import load_text
from mihomo_tproxy.errors import ConfigError

SERVER = "type: socks5, server: 192.0.2.1, port: 1"


def errors(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return [f"{problem.path}: {problem.message}" for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "proxy-groups: [{name: a, type: select, proxies: [a]}]",
            ["proxy-groups[0]: goes round in a circle: a -> a"],
        ),
        (
            "proxy-groups: [{name: a, type: select, proxies: [DIRECT, b]},"
            " {name: b, type: url-test, proxies: [REJECT, c, a]},"
            " {name: c, type: select, proxies: [b]}]",
            ["proxy-groups[0]: goes round in a circle: a -> b -> a"],
        ),
        (
            f"proxies: [{{name: p, {SERVER}, dialer-proxy: g}}]\n"
            "proxy-groups: [{name: g, type: select, proxies: [h]},"
            " {name: h, type: select, include-all: true}]",
            ["proxies[0].dialer-proxy: goes round in a circle: p -> g -> h -> p"],
        ),
        (
            f"proxies: [{{name: p, {SERVER}, dialer-proxy: p}}]",
            ["proxies[0].dialer-proxy: goes round in a circle: p -> p"],
        ),
        (
            f"proxies: [{{name: p, {SERVER}, dialer-proxy: grp}}]\n"
            "proxy-groups: [{name: group, type: select, proxies: [DIRECT]}]",
            ["proxies[0].dialer-proxy: there is no proxy or group 'grp', did you mean 'group'?"],
        ),
        (
            f"proxies: [{{name: p, {SERVER}, dialer-proxy: q}}, {{name: q, {SERVER}}},"
            f" {{name: r, {SERVER}, dialer-proxy: s}}, {{name: s, {SERVER}, dialer-proxy: r}}]",
            ["proxies[2].dialer-proxy: goes round in a circle: r -> s -> r"],
        ),
    ],
)
def test_circles_are_reported_with_their_path(text, found):
    assert errors(text) == found


def test_a_dialer_may_be_a_group():
    config = parse(
        f"proxies: [{{name: p, {SERVER}, dialer-proxy: g}}]\n"
        "proxy-groups: [{name: g, type: select, proxies: [DIRECT]}]"
    )
    assert config.proxies[0].dialer_proxy == "g"


def test_a_providers_proxy_without_a_way_rejects():
    groups, report = parsed("  - {name: g, type: select, use: [zeta]}")
    provided = (
        ProxySpec("p-us", "socks5", dialer_proxy="g"),
        ProxySpec("p-hk", "socks5", dialer_proxy="us-1"),
        ProxySpec("q-hk", "socks5", dialer_proxy="nowhere"),
        ProxySpec("q-us", "socks5"),
    )
    proxies = (ProxySpec("us-1", "socks5"),)
    assert check_chains(report, proxies, groups, provided) == (
        ProxySpec("p-us", "reject"),
        provided[1],
        ProxySpec("q-hk", "reject"),
        provided[3],
    )
    assert report.problems == []
    assert [warning.partition(": ")[2] for warning in report.warnings] == [
        "proxy-providers: 2 proxies reject, for their `dialer-proxy`: "
        "'q-hk' (no 'nowhere'), 'p-us' ('g' leads back)"
    ]


def chain(count: int) -> tuple[GroupSpec, ...]:
    names = [f"g{number}" for number in range(count)]
    return tuple(
        GroupSpec(name, GroupType.SELECT, (following,))
        for name, following in zip(names, [*names[1:], "DIRECT"], strict=True)
    )


@pytest.mark.parametrize(("count", "deep"), [(32, 0), (33, 1), (20_000, 1)])
def test_long_chains_are_refused_without_harm(count, deep):
    report = Report(load_text("{}"))
    assert check_chains(report, (), chain(count), ()) == ()
    assert [problem.message for problem in report.problems] == [
        "leads on through more than 32 others"
    ] * deep


def test_a_provider_cannot_build_long_chains_either():
    report = Report(load_text("{}"))
    provided = (
        *(ProxySpec(f"p{number}", "ss", dialer_proxy=f"p{number + 1}") for number in range(40)),
        ProxySpec("p40", "ss"),
    )
    found = check_chains(report, (), chain(1), provided)
    assert [spec.name for spec in found if spec.type == "reject"] == [
        f"p{number}" for number in range(8)
    ]
    assert (report.problems, len(report.warnings)) == ([], 1)


_GRAPHS = st.dictionaries(
    st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdefg"), max_size=4)
)


def reachable(edges, start):
    found, todo = set(), [start]
    while todo:
        for member in edges.get(todo.pop(), ()):
            if member not in found:
                found.add(member)
                todo.append(member)
    return found


@given(_GRAPHS)
def test_circles_are_exactly_what_leads_back(edges):
    rings = list(circles(edges))
    expected = {name for name in edges if name in reachable(edges, name)}
    assert sorted(name for ring in rings for name in ring) == sorted(expected)
    for ring in rings:
        way = shortest_circle(edges, ring)
        assert way[0] == way[-1] == ring[0]
        assert set(way) <= set(ring)
        assert all(after in edges[before] for before, after in pairwise(way))
        assert len(way) == len(set(way)) + 1
